"""V of vectors, and of pictures with vectors beside them."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wmloop.models.encoder import PICTURES, Parts, PicturesAndVectors, Vectors, make_encoder, parts_of
from wmloop.models.networks import parts_seen
from wmloop.models.state import load_module, module_arrays
from wmloop.models.vision import Vision
from wmloop.spaces import PictureAndVector, Pixels, Vector, recorded_observations

_NUMBERS = st.floats(-1e4, 1e4, width=32)


@given(hnp.arrays(np.float32, st.tuples(st.integers(2, 40), st.integers(1, 5)), elements=_NUMBERS))
def test_vectors_are_standardised_by_what_was_seen_first_and_come_back_from_their_latents(seen):
    vectors = Vectors(seen.shape[1])
    batches = np.array_split(seen, 2)
    vectors.look(torch.from_numpy(part) for part in batches)
    mu, logvar = vectors.see(torch.from_numpy(seen))
    assert mu.isfinite().all()
    assert logvar.shape == mu.shape
    changing = seen.astype(np.float64).std(0) > 1e-3 * np.abs(seen).max(0).clip(1e-3)
    mu = mu.numpy()
    np.testing.assert_allclose(mu[:, changing].mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(mu[:, changing].std(0), 1, atol=1e-2)
    back = vectors.vector(torch.from_numpy(mu)).numpy()
    np.testing.assert_allclose(back, seen, atol=1e-2 + 1e-5 * float(np.abs(seen).max()))


def test_what_never_changes_is_no_reason_for_infinite_latents_nor_is_what_comes_far_out():
    vectors = Vectors(3)
    vectors.look([torch.tensor([[7.0, 0.0, 1.0], [7.0, 0.0, 3.0]])])
    mu, _ = vectors.see(torch.tensor([[7.0, 0.0, 2.0], [8.0, -1.0, 1e9]]))
    assert mu.tolist() == [[0, 0, 0], [1, -1, 10]]


def test_how_often_a_number_is_clipped_is_told_also_beside_a_picture():
    vectors = Vectors(2)
    vectors.look([torch.tensor([[0.0, 1.0], [2.0, 3.0]])])
    seen = torch.tensor([[1.0, 2.0], [11.5, 2.0], [-9.5, 2.0], [10.5, 12.5]])
    assert vectors.clipped(seen).tolist() == [0.5, 0.25]
    space, both = PictureAndVector(Pixels(64, 64), Vector(2)), PicturesAndVectors(Vision(latent=4), vectors)
    picture = np.zeros((64, 64, 3), np.uint8)
    held = torch.from_numpy(np.stack([space.join(picture, row.numpy()) for row in seen]))
    assert both.clipped(held).tolist() == [0.5, 0.25]


def test_the_posterior_of_a_vector_is_narrow_everywhere():
    vectors = Vectors(2)
    _, logvar = vectors.see(torch.randn(5, 2))
    assert (torch.exp(0.5 * logvar) < 0.02).all()
    assert (logvar == logvar[0, 0]).all()


@settings(max_examples=5)
@given(st.integers(1, 4), st.integers(0, 2**31))
def test_a_picture_and_a_vector_are_seen_as_each_is_alone(size, seed):
    rng = np.random.default_rng(seed)
    space = PictureAndVector(Pixels(64, 64), Vector(size))
    pictures = rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    vectors = rng.standard_normal((3, size)).astype(np.float32)
    seen = np.stack([space.join(*both) for both in zip(pictures, vectors, strict=True)])
    assert (seen.shape[1:], seen.dtype) == (space.shape, space.dtype)
    np.testing.assert_array_equal(space.picture(seen[0]), pictures[0])
    both = PicturesAndVectors(Vision(latent=4), Vectors(size)).eval()
    both.look([torch.from_numpy(seen)])
    with torch.no_grad():
        mu, logvar = both.see(torch.from_numpy(seen))
        alone = both.vision.see(torch.from_numpy(pictures)), both.vectors.see(torch.from_numpy(vectors))
        for part, of_picture, of_vector in zip((mu, logvar), *alone, strict=True):
            assert torch.equal(part, torch.cat([of_picture, of_vector], 1))
        assert torch.equal(both.draw(mu), both.vision.draw(mu[:, :4]))
    assert torch.equal(both.images(torch.from_numpy(seen)), both.vision.images(torch.from_numpy(pictures)))


@pytest.mark.parametrize(
    ("space", "parts", "latent"),
    [
        (Pixels(64, 64), PICTURES, 8), (Vector(5), Parts(False, 5), 5),
        (PictureAndVector(Pixels(64, 64), Vector(2)), Parts(True, 2), 10),
    ],
)  # fmt: skip
def test_what_an_encoder_is_made_of_is_told_by_the_space_and_by_its_weights(space, parts, latent):
    encoder = make_encoder(parts_seen(space), "compact", 8)
    assert encoder.latent == latent
    arrays = module_arrays(encoder)
    assert parts_seen(space) == parts_of(arrays) == parts
    again = make_encoder(parts_of(arrays), "compact", 8)
    load_module(again, arrays)
    assert all(
        torch.equal(a, b) for a, b in zip(encoder.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert (encoder.pictures is None) == isinstance(space, Vector)
    assert (encoder.draw(torch.zeros(1, latent)) is None) == isinstance(space, Vector)


@pytest.mark.parametrize("space", [Pixels(64, 64), Vector(5), PictureAndVector(Pixels(8, 9, 1), Vector(2))])
def test_a_space_of_observations_is_read_again_as_it_was_written(space):
    assert recorded_observations(json.loads(json.dumps(space.record()))) == space

"""CUDA graphs: recorded once, replayed on new inputs, and everywhere the same numbers as the function itself."""

import contextlib

import pytest
import torch

from wmloop.dreams import Noise, rollout
from wmloop.graphs import CapturedGraph
from wmloop.models.controller import GaussianActor
from wmloop.models.kernel import Kernel
from wmloop.models.memory import Memory
from wmloop.models.world_model import State

CPU = torch.device("cpu")


def test_without_cuda_a_function_is_simply_called():
    called = CapturedGraph(lambda a, b: (a + b, a * b))
    for shape in ((2,), (3, 4)):
        a, b = torch.randn(shape), torch.randn(shape)
        torch.testing.assert_close(called(a, b), (a + b, a * b))
        assert called.eager


class Stream:
    def wait_stream(self, other):
        pass


class Recorder:
    """Stand in for torch.cuda: a graph that runs its function again in place, as replaying does."""

    def __init__(self, monkeypatch, fault=None):
        self.function, self.replays, self.recording, self.where = None, 0, False, "its own stream"
        recorder = self

        class Graph:
            def replay(self):
                recorder.replays += 1
                recorder.rerun()

        @contextlib.contextmanager
        def graph(_):
            recorder.recording = True
            recorder.where = "the recording's stream"
            yield
            recorder.recording = False
            if fault:
                raise fault  # as torch does, which only then would go back
            recorder.where = "its own stream"

        @contextlib.contextmanager
        def stream(_):
            before = recorder.where
            try:
                yield
            finally:
                recorder.where = before

        fakes = {"CUDAGraph": Graph, "graph": graph, "Stream": Stream, "current_stream": Stream,
                 "stream": stream}  # fmt: skip
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)
        monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)

    def rerun(self):
        inputs, result = self.seen
        result.copy_(self.body(*inputs))

    def wrap(self, body):
        self.body = body

        def function(*inputs):
            result = body(*inputs)
            if self.recording:
                self.seen = inputs, result
            return result

        return function


def test_a_recorded_function_is_replayed_on_new_inputs_and_with_new_weights(monkeypatch):
    recorder = Recorder(monkeypatch)
    weight = torch.ones(3)
    called = CapturedGraph(recorder.wrap(lambda x: 2 * x * weight))
    first = torch.arange(3.0)
    result = called(first)
    torch.testing.assert_close(result, 2 * first)
    weight.mul_(5)  # in place, as an optimiser does
    second = torch.randn(3)
    again = called(second)
    torch.testing.assert_close(again, 10 * second)
    assert again is result  # which is why it must be used before the next call
    assert recorder.replays == 2
    assert not called.eager
    torch.testing.assert_close(first, torch.arange(3.0))  # the caller's tensors are left alone


def test_what_cannot_be_recorded_is_called_as_it_is(monkeypatch):
    recorder = Recorder(monkeypatch, RuntimeError("operation not permitted when stream is capturing"))
    called = CapturedGraph(recorder.wrap(lambda x: x + 1))
    for _ in range(3):
        x = torch.randn(3)
        torch.testing.assert_close(called(x), x + 1)
    assert called.eager
    assert called.fault == "operation not permitted when stream is capturing"
    assert recorder.replays == 0
    assert recorder.where == "its own stream"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_dream_as_a_graph_is_the_eager_dream_on_the_same_noise():
    device = torch.device("cuda")
    torch.manual_seed(0)
    memory, actor = Memory().to(device).eval(), GaussianActor().to(device)
    kernel = Kernel(memory, 1.15, 10.0)

    def imagine(features, inner, *noise):
        return rollout(kernel, actor, State(features, inner), Noise(*noise))

    captured = CapturedGraph(imagine)
    generator = torch.Generator(device).manual_seed(0)
    for _ in range(3):
        start = memory.begin(torch.randn(64, 32, device=device))
        noise = Noise.draw(12, 64, 32, 3, generator)
        eager = imagine(*start, *noise)
        for ours, theirs in zip(captured(*start, *noise), eager, strict=True):
            torch.testing.assert_close(ours, theirs)
        with torch.no_grad():
            actor.mean.bias.add_(0.1)
    assert not captured.eager

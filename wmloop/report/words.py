"""What the words in a report mean, a sentence each, in the terms of docs/glossary.md and of the versions' metrics."""

from __future__ import annotations

from collections.abc import Sequence

from wmloop.pipelines import Pipeline

#: Of any run.
TERMS = {
    "iteration": "One pass through all stages: collect, train, evaluate. Training goes on with the networks of"
    " earlier iterations.",
    "score": "Return of an episode (undiscounted sum of the environment's own rewards), mean over episodes.",
    "± deviation": "Standard deviation of the score over episodes.",
    "held-out episodes": "Episodes that are never trained on: the agent of every iteration is scored on the same"
    " ones, without exploration noise. They rank the iterations.",
    "confirming episodes": "Further held-out episodes, run only when the score reaches the goal, to confirm it. An"
    " iteration that has them is ranked by them.",
    "fresh episodes": "Episodes of `wmloop eval` and of this report: used neither for training nor for choosing"
    " the best agent.",
    "best agent": "The one with the highest mean score minus one standard error, over the confirming episodes of its"
    " iteration if there are any, else over the held-out ones; `play`, `eval` and `export` use it.",
    "agent step": "One action of the agent, repeated for `env.action_repeat` environment steps (frames).",
}  # fmt: skip
#: Of runs with a world model.
WORLD_MODEL = {
    "V": "Vision: it encodes an observation to a latent vector z, and decodes z. Images: a VAE. Vectors: their numbers,"
    " standardised by mean and deviation over iteration 0's episodes; nothing is trained. Both: the two side by side.",
    "M": "Memory: the MDN-RNN. It predicts from z and the action the next z, the reward and whether the episode terminates.",
    "C": "Controller: the policy.",
    "dream": "An imagined episode: M predicts it from a moment of a real one on, with C's actions or the recorded ones.",
    "predicted return": "The return of an episode as M predicts it, in dreams from moments of real episodes on, with"
    " C acting.",
    "real return": "The real rewards of the same agent steps, scaled to an episode. It leaves out an episode's first agent"
    " steps, and those after `rollout.max_unrewarded` agent steps without a positive reward, so it can differ from the"
    " score.",
    "gap": "Predicted minus real return: above 0 M is too optimistic, and C may be exploiting errors of M.",
    "M's correlation": "Correlation of the predicted and the real sum of rewards of the next 25 agent steps, given the"
    " recorded actions; 1 is best. M runs as a particle filter: 1024 imagined episodes, resampled at each agent step by how"
    " probable C makes the recorded action.",
    "open loop": "M continues from its own predictions and gets no further observations. The images and vectors of this report"
    " are each of one imagined episode, which is not resampled.",
}  # fmt: skip


def world_model(pipelines: Sequence[Pipeline]) -> dict[str, str]:
    """Return the terms of runs with a world model, of these pipelines: how C learns is their own."""
    told = []
    kinds = {pipeline.name: pipeline for pipeline in pipelines}
    for name, pipeline in kinds.items():
        stage = pipeline.row(pipeline.agent)
        how = f" In {name}: {stage.about}" if len(kinds) > 1 else f" {stage.about}"
        if stage.name in stage.carries_accepted:
            how += "; it goes on from the newest iteration whose score is not clearly below the best"
        told.append(f"{how}.")
    return WORLD_MODEL | {"C": WORLD_MODEL["C"] + "".join(told)}

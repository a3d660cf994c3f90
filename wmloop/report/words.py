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


#: What training is told by, and which way is good; those of PPO in the order in which they are drawn.
METRICS = {
    "approx_kl": "KL divergence of the updated policy from the one that acted; about 0.01 is usual",
    "entropy": "entropy of the policy; it falls as the policy becomes deterministic",
    "explained_variance": "fraction of the returns' variance that the critic explains; 1 is best, 0 is a constant",
    "clipfrac": "fraction of samples that PPO clipped; 0.02 to 0.2 is usual",
    "v_loss": "squared error of the critic; lower is better at equal rewards",
    "pg_loss": "PPO's objective, negated; its level says little",
    "ref_kl": "KL divergence of the policy from the one that this iteration's training began with (in vanilla-ppo: that"
    " collected the batch); `ref_kl_coef` is its weight in the loss",
    "policy_epochs": "passes over each batch before `target_kl` stopped the policy's update",
    "dream_return": "mean undiscounted sum of rewards of an imagined episode; higher is better",
    "dream_terminated_fraction": "fraction of dreams that terminate",
    "best_fitness": "fitness of the best candidate of a generation: the largest of many noisy figures",
    "sigma": "CMA-ES's step size: how far candidates lie from their mean",
    "recon_loss": "squared error of V's reconstructions; lower is better",
    "newest_recon_loss": "the same on the newest episodes alone",
    "kl_loss": "KL divergence of z's posterior from the prior, in nats; below `vision.free_nats` times `vision.latent_size` it"
    " has no gradient",
    "reward_aux_loss": "squared error of the next rewards predicted from z alone; lower is better",
    "nll": "negative log-likelihood of the next z; lower is better, and a density may have it below 0",
    "reward_loss": "squared error of the rewards that M predicts; lower is better",
    "terminated_loss": "cross-entropy of the termination that M predicts; lower is better",
    "terminal_reward_loss": "squared error of the reward predicted for terminal steps, divided by the number of all steps;"
    " lower is better",
    "action_loss": "squared error of the next action of the episode as M predicts it; lower is better",
    "score": "mean score of the episodes that were trained on, with exploration",
    "episodes": "episodes that were trained on",
    "frames": "real frames that were trained on",
    "decisions": "agent steps that were trained on",
}  # fmt: skip
PPO = tuple(METRICS)[:10]
#: Settings and counts among a stage's figures: nothing that training changes.
UNDRAWN = {"units", "frames", "decisions", "episodes", "temperature", "gamma", "finetuned", "reward_saturated"}

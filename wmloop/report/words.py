"""What the words in a report mean, a sentence each, in the terms of docs/glossary.md and of the versions' metrics."""

from __future__ import annotations

#: Of any run.
TERMS = {
    "iteration": "One round of all stages: drive, learn, be scored; each starts from what the one before has learnt.",
    "score": "The sum of the environment's own rewards over one episode, as a mean over the episodes.",
    "± deviation": "The standard deviation of the score from episode to episode.",
    "held-out episodes": "Episodes that nothing is trained on: every iteration's agent is scored on the same"
    " ones, without noise.",
    "confirming episodes": "Other held-out episodes, driven only once the goal seems met, to confirm it.",
    "fresh episodes": "Episodes of `wmloop eval` and of this report: nothing was trained, ranked or chosen on them.",
    "served": "`play`, `eval` and `export` take the agent with the highest score less one standard error.",
    "decision": "One action of the agent, held for `env.action_repeat` frames of the environment.",
}  # fmt: skip
#: Of runs with a world model.
WORLD_MODEL = {
    "V": "Vision: the network that makes a short vector z of each picture, and a picture of each z.",
    "M": "Memory: the network that predicts from z and the action what comes next: z, the reward, the end.",
    "C": "Controller: the network that decides; it is trained by PPO in M's dreams only.",
    "dream": "An episode that M imagines from a real moment on, with C or the recorded actions acting in it.",
    "predicted return": "What M expects an episode to pay while C acts in the dream, asked from real moments on.",
    "real return": "What the environment paid over the same decisions; with first decisions left out it is not"
    " the score.",
    "gap": "Predicted return less real return: above 0 M promises too much, and C may be practising on errors of M.",
    "M's correlation": "How well M ranks moments by what the next 25 decisions pay, given the actions really"
    " taken; 1 is best.",
    "open loop": "M goes on from its own predictions and sees no real picture any more.",
}  # fmt: skip
#: What training is told by, and which way is good; those of PPO in the order in which they are drawn.
METRICS = {
    "approx_kl": "how far an update moved the policy from the one that acted; some 0.01 is usual",
    "entropy": "how random the policy still is; it falls as the policy becomes sure",
    "explained_variance": "the part of the returns' variance that the critic explains; 1 is best, 0 is a constant",
    "clipfrac": "the share of samples whose update PPO clipped; 0.1 to 0.3 is usual",
    "v_loss": "squared error of the critic; lower is better at equal rewards",
    "pg_loss": "PPO's objective, negated; its level says little",
    "ref_kl": "how far the policy is from the one whose data M was trained on; it is kept small",
    "policy_epochs": "passes over each batch before the policy had moved far enough",
    "dream_return": "what the critic's horizon of a dream pays, in units of memory.reward_scale; higher is better",
    "dream_terminated_fraction": "the share of dreams that M ended",
    "recon_loss": "squared error of V's pictures; lower is better",
    "newest_recon_loss": "the same on the newest episodes alone",
    "kl_loss": "how much z tells, in nats; `vision.free_nats` are free",
    "reward_aux_loss": "squared error of rewards told from z alone; lower is better",
    "nll": "negative log likelihood of the z that came; lower is better, and below 0 is usual of densities",
    "reward_loss": "squared error of M's rewards; lower is better",
    "terminated_loss": "cross-entropy of M's ends; lower is better",
    "terminal_reward_loss": "squared error of the reward that an end brings; lower is better",
    "action_loss": "squared error of C's own next action as M expects it; lower is better",
    "score": "mean score of the episodes that were trained on, with exploration",
    "episodes": "episodes that were trained on",
    "frames": "real frames that were trained on",
    "decisions": "decisions that were trained on",
}  # fmt: skip
PPO = tuple(METRICS)[:10]
#: Settings and counts among a stage's figures: nothing that training changes.
UNDRAWN = {"units", "frames", "decisions", "episodes", "temperature", "gamma", "finetuned", "reward_saturated"}

"""Read a run's figures: one mapping an iteration, stage -> figure -> value."""

import wmloop

run = wmloop.Run("demo")
for iteration, stages in enumerate(run.metrics):
    evaluation = stages["evaluate"]
    print(f"{iteration}: score {evaluation['score']:.0f} ± {evaluation.get('score_std', 0):.0f}")
    print(f"   return predicted by M {evaluation['predicted_return']:.0f}, real return {evaluation['real_return']:.0f}")

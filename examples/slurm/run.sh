#!/bin/bash
#SBATCH --job-name=wmloop --time=4:00:00 --cpus-per-task=4 --mem=8G --output=%x-%j.log
#SBATCH --requeue --open-mode=append --signal=TERM@120
# One run that survives its time limit: sbatch run.sh my-run --env CartPole-v1
# wmloop has to be on the PATH: activate its environment before sbatch.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" wmloop start "$@" --or-resume --progress plain
code=$?
# 143: asked to end, two minutes before the time limit or by a preemption, and saved. The same job goes on later.
[ $code = 143 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code

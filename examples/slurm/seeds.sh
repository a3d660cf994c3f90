#!/bin/bash
#SBATCH --job-name=wmloop --array=1-5 --time=4:00:00 --cpus-per-task=4 --mem=8G --output=%x-%A-%a.log
#SBATCH --requeue --open-mode=append --signal=TERM@120
# Five runs, a seed each: sbatch seeds.sh my-run --env CartPole-v1 makes my-run-1 to my-run-5
# wmloop has to be on the PATH: activate its environment before sbatch.
name=$1-$SLURM_ARRAY_TASK_ID && shift
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    wmloop start "$name" --seed "$SLURM_ARRAY_TASK_ID" "$@" --or-resume --progress plain
code=$?
[ $code = 143 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code

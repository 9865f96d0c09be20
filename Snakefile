# The notebooks in their order, over the runs of a profile. Usually started by `make reproduce`; by hand:
#   .venv/bin/python -m snakemake --cores all --config profile=embedded seeds="0 1 2"
# A run is a folder runs/<profile>/seed<k> (split by object) or seed<k>-sequence. lib/dependencies.py says what a
# notebook depends on: state/<notebook>.json beside the results is newer than them when something changed.

import os
import re
import sys

sys.path.insert(0, workflow.basedir)
from lib import dependencies, stages
from lib.arms import weights_file
from lib.runs import InputError

try:
    for name in set(config) - {"profile", "seeds", "splits"}:
        raise InputError("--config", repr(name), "profile, seeds or splits")
    PROFILE = str(config.get("profile", "embedded") or "")
    RUNS = stages.plan(PROFILE, config.get("seeds"), config.get("splits"))
    ARMS = stages.arms(PROFILE)
    dependencies.write_states(PROFILE, RUNS)
except (InputError, SyntaxError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)


# Each notebook says itself when it starts and ends, and why it failed; other messages stay as they are.
NOISE = re.compile(
    r"Assuming unrestricted|Building DAG|Using shell|Select jobs|Execute |Complete log|Elapsed|Shutting down"
    r"|Exiting because|(\w+:\s+)?(CalledProcessError in|At least one job did not)"
)
logger.addFilter(lambda record: not NOISE.match(str(record.msg)))


workdir: workflow.basedir


wildcard_constraints:
    run=r"seed\d+(-sequence)?",


# Not part of the commands, as Snakemake would take another place of the checkout for a change of the code.
os.environ["STAGE_PYTHON"] = sys.executable


def here(names):
    """Files of one run, from names separated by spaces."""
    return [f"runs/{PROFILE}/{{run}}/{name}" for name in names.split()]


def made(notebook, names):
    """What a notebook leaves in its run's folder, with the time it took and itself as executed."""
    return here(f"{names} timing/{notebook}.json notebooks/{notebook}.ipynb")


ANSWERS = " ".join(f"answers/{arm}.npz" for arm in ARMS)  # what each retrained classifier says of every test set


def stage(notebook, runs="{wildcards.run}"):
    """The command of a notebook. It replaces the shell, so that it notices when Snakemake dies."""
    return f'exec "$STAGE_PYTHON" -m lib.stages {notebook} {PROFILE} {runs}'


# The runs of a profile go side by side, each on its share of the cores: on two cores, two trainings of one
# thread each get more done than one of two threads. Notebook 01 makes what all runs share, and 06 needs all.
# Snakemake tells PyTorch the number of threads. Sums depend on it in their last digits, so the same bytes need
# the same seeds asked for and the same JOBS; what is done already does not matter.
SHARE = max(1, workflow.cores // len(RUNS))
# Earlier notebooks first: the longest begin as soon as they can, and short ones are left to fill the end.


rule data_preparation:
    input:
        here("state/01_data_preparation.json"),
    output:
        made("01_data_preparation", "division.npz metrics/data.json metrics/table1.json state/stores.json"),
    threads: workflow.cores
    priority: 5
    shell:
        stage("01_data_preparation")


rule classifier_training:
    input:
        here("state/02_classifier_training.json"),
        here("state/stores.json division.npz"),
    output:
        made("02_classifier_training", "classifier.safetensors metrics/classifier.json answers/none.npz"),
    threads: SHARE
    priority: 4
    shell:
        stage("02_classifier_training")


rule vae_transfer:
    input:
        here("state/03_vae_transfer.json"),
        here("state/stores.json division.npz classifier.safetensors"),
    output:
        made("03_vae_transfer", "vae_car.safetensors metrics/vae.json metrics/transfer.json"),
    threads: SHARE
    priority: 3
    shell:
        stage("03_vae_transfer")


rule generation:
    input:
        here("state/04_generation.json"),
        here("state/stores.json division.npz classifier.safetensors vae_car.safetensors"),
    output:
        made("04_generation", "synthetic_car.npy recoloured.npy recoloured_labels.npy metrics/generation.json judge.safetensors"),
    threads: SHARE
    priority: 2
    shell:
        stage("04_generation")


rule retraining:
    input:
        here("state/05_retraining.json"),
        here("state/stores.json division.npz classifier.safetensors vae_car.safetensors synthetic_car.npy"),
        here("recoloured.npy recoloured_labels.npy"),
    output:
        made("05_retraining", "metrics/retraining.json"),
        here(" ".join(map(weights_file, ARMS))),
        here(ANSWERS),
    threads: SHARE
    priority: 1
    shell:
        stage("05_retraining")


rule evaluation:
    input:
        f"runs/{PROFILE}/summary/state/06_evaluation.json",
        expand(here("state/stores.json metrics/data.json metrics/table1.json metrics/classifier.json"), run=RUNS),
        expand(here("metrics/vae.json metrics/transfer.json metrics/generation.json"), run=RUNS),
        expand(here("metrics/retraining.json answers/none.npz"), run=RUNS),
        expand(here(ANSWERS), run=RUNS),
    output:
        expand(
            made("06_evaluation", "table1.json table2.csv table2_summary.json table2.md evaluation.json"),
            run="summary",
        ),
    threads: workflow.cores
    shell:
        stage("06_evaluation", " ".join(RUNS))


rule all:
    default_target: True
    input:
        rules.evaluation.output,
        expand(rules.data_preparation.output, run=RUNS),
        expand(rules.classifier_training.output, run=RUNS),
        expand(rules.vae_transfer.output, run=RUNS),
        expand(rules.generation.output, run=RUNS),
        expand(rules.retraining.output, run=RUNS),

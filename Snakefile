# The notebooks in their order, over the runs of a profile. Usually started by `make reproduce`; by hand:
#   .venv/bin/python -m snakemake --cores all --config profile=embedded seeds="0 1 2"
# A run is a folder runs/<profile>/seed<k> (split by object) or seed<k>-sequence, or a variant of one with other
# numbers (lib/run_names.py). lib/run_plan.py says which files a notebook needs and makes, lib/dependencies.py what else
# it depends on: state/<notebook>.json beside the results is newer than them when something changed.

import os
import re
import sys

sys.path.insert(0, workflow.basedir)
from lib import dependencies, run_plan
from lib.run_names import ONCE, OPTIONAL, OUTPUTS, parse_run
from lib.runs import InputError
from lib.settings import DATA

try:
    for name in set(config) - {"profile", "seeds", "splits"}:
        raise InputError("--config", repr(name), "profile, seeds or splits")
    if workflow.cores < 1:  # Snakemake would wait for them for ever
        raise InputError("JOBS", repr(str(workflow.cores)), "all or a number from 1")
    PROFILE = str(config.get("profile", "embedded") or "")
    RUNS = run_plan.plan(PROFILE, config.get("seeds"), config.get("splits"))
    ALIKE = run_plan.alike(PROFILE, RUNS)
    LEFT = [notebook for notebook in ONCE if run_plan.able(PROFILE, notebook, RUNS[0])]
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


# Not part of the commands, as Snakemake would take another place of the checkout for a change of the code.
os.environ["STAGE_PYTHON"] = sys.executable


def made(notebook, run):
    """Files that a notebook leaves in a run's folder."""
    return [f"runs/{PROFILE}/{run}/{name}" for name in run_plan.outputs(PROFILE, notebook, parse_run(run))]


def made_by_rule(notebook, like):
    """The same for a rule that serves all runs that are like this one."""
    return [path.replace(f"/{like}/", "/{run}/", 1) for path in made(notebook, like)]


def needed(notebook):
    """Files that a notebook needs, of the run that a rule is asked for."""
    return lambda wildcards: [
        f"runs/{PROFILE}/{path}" for path in run_plan.inputs(PROFILE, notebook, parse_run(wildcards.run))
    ]


# The command of a notebook. It replaces the shell, so that it notices when Snakemake dies.
STAGE = f'exec "$STAGE_PYTHON" -m lib.stages {{params.notebook}} "{PROFILE}" {{params.runs}}'


# The runs of a profile go side by side, each on its share of the cores: on two cores, two trainings of one
# thread each get more done than one of two threads. Notebook 01 makes what all runs share, and 06 needs all.
# Snakemake tells PyTorch the number of threads. Sums depend on it in their last digits, so the same bytes need
# the same seeds asked for and the same JOBS; what is done already does not matter.
SHARE = max(1, workflow.cores // len(RUNS))
# Earlier notebooks first: the longest begin as soon as they can, and short ones are left to fill the end.
PRIORITY = {notebook: len(OUTPUTS) - place for place, notebook in enumerate(OUTPUTS)}
TARGETS = [
    path
    for run in RUNS
    for notebook in OUTPUTS
    if notebook not in OPTIONAL + ONCE and parse_run(run).repeats(notebook)
    for path in made(notebook, run)
]
# What is made for the profile's first run alone, and what Table 2 does not wait for.
ONCE_TARGETS = [path for notebook in LEFT for path in made(notebook, RUNS[0])]

# A rule for each notebook and each set of files that it leaves: those of a run depend on its arms.
for number, alike in enumerate(ALIKE):
    for notebook in OUTPUTS:
        if not parse_run(alike[0]).repeats(notebook):
            continue

        rule:
            name:
                notebook[3:] + (f"_{number}" if number else "")
            input:
                needed(notebook),
            output:
                made_by_rule(notebook, alike[0]),
            wildcard_constraints:
                run="|".join(alike),
            params:
                notebook=notebook,  # kept with the rule: its command is put together when the loop is over
                runs="{run}",
            threads: workflow.cores if notebook == DATA else SHARE
            priority: PRIORITY[notebook]
            shell:
                STAGE


rule evaluation:
    input:
        f"runs/{PROFILE}/summary/state/06_evaluation.json",
        TARGETS,
    output:
        [
            f"runs/{PROFILE}/summary/{name}"
            for name in run_plan.SUMMARY_OUTPUTS
        ],
    threads: workflow.cores
    params:
        notebook="06_evaluation",
        runs=RUNS,
    shell:
        STAGE


rule improve:  # the optional notebooks, of every run but variants
    input:
        [path for run in RUNS for notebook in OPTIONAL for path in made(notebook, run) if not parse_run(run).numbers()],


rule all:
    default_target: True
    input:
        rules.evaluation.output,
        TARGETS,
        ONCE_TARGETS,

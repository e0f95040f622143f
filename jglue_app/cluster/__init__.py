"""The items of runs, answered by several processes or machines: `--ray` of `run`, `compare` and `grid`.

Each worker is a Ray actor that keeps models loaded. It is sent batches of prompts and gives back records, which only
this process (the driver) stores: a record whose worker dies before it arrives is answered again, and one that has
arrived is never asked for twice, so that every item has one record whatever happens in between. Nothing but `Worker`,
versions, jobs and replies travels; workers find models by their own path (the Hub, its cache, a shared folder), and the
checksums of a plan hold for them too.

Ray's actors are used directly, and not Ray Data: that returns whole batches alone, so that a stopped run would lose the
answers of the batches under way; it gives no worker the batches of the model that it holds, and tells nothing of one
worker before its first batch.

| file | what it does |
|---|---|
| `options` | what a user asks for, and how large a worker is |
| `connection` | connects to a cluster, or starts one on this machine |
| `worker`, `versions` | the actor, and whether its machine has the same versions |
| `jobs`, `serving` | what a worker is told and gives back, and what it does in between |
| `batches` | which batch comes next, pure |
| `workers` | the actors as the driver sees them: started, sent jobs, lost |
| `deaths` | how many workers may end without an answer |
| `failures` | runs that cannot be made: the first ends the call, or they are left out |
| `subsets` | what is left of runs, and the run folders, which only this process writes |
| `distribution` | the items of plans, over workers |
| `runs`, `grid_runs` | runs from beginning to end, with the events of `runs.runner`; those of a grid |
"""

from jglue_app.cluster.grid_runs import over_workers
from jglue_app.cluster.options import RayOptions
from jglue_app.cluster.runs import NOTHING_LEFT, run_plans_on_ray

__all__ = ["NOTHING_LEFT", "RayOptions", "over_workers", "run_plans_on_ray"]

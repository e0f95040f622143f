"""The W&B Launch job: a form, the job that evaluates what it names, and how the job is registered."""

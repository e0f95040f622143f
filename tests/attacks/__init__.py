"""Attacks on a running server: what a stranger may try who has read the code.

    python -m tests.attacks --help

`world` starts the servers and plants secrets, `calls` speaks to them as programs do, `outcome` is what an attack gives
and the table of all. Each other module is one kind of attack: a function that takes the world and yields an `Outcome`
for each try. An attack that is not refused has `through`, a sentence on what it got.
"""

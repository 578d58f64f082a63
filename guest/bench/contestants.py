"""Who takes part in the experiments on fork, and what the tables and pictures call them."""

from __future__ import annotations

from typing import Any

CLASSIC, ODF1, ODF2, HOST = "classic", "odf 1", "odf 2", "host"
ON_DEMAND = (ODF1, ODF2)
OURS = (CLASSIC, *ON_DEMAND)
ALL = (*OURS, HOST)
#: One session in which the program itself switches between the kinds of fork.
FORKYARD = "Forkyard"
#: Session options by who runs; None is the host itself. Where mappings lie among the page tables decides how many
#: entries a fork visits: at fixed addresses it is the same number each time.
SESSIONS: dict[str, dict[str, Any] | None] = {
    CLASSIC: {"aslr": False}, ODF1: {"aslr": False, "odf": True}, ODF2: {"aslr": False, "odf": True, "odf_level": 2},
    HOST: None, FORKYARD: {"aslr": False}}
HEADINGS = {CLASSIC: "classic fork", ODF1: "on demand, level 1", ODF2: "on demand, level 2", HOST: "host's own fork"}
PAPER_CLASSIC, PAPER_ODF = PAPER = "paper: fork", "paper: on demand"

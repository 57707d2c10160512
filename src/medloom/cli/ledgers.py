"""Verbs of a run that is there: run it again and compare, sign and verify it, clear it up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, Quiet, Set, app, existing, print_json, print_tables, walking

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Where a run is kept.")]
Place = Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept, or a model's folder, or a file.")]


@app.command(epilog="Example: medloom reproduce medloom-demo --out /tmp/again")
def reproduce(run: RunFolder,
              out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the second run is kept [default: RUN-again].")
                             ] = None,
              points: Annotated[float, typer.Option(min=0, help="Points of accuracy within which answers count as equivalent.")] = 1.0,
              relative: Annotated[float, typer.Option(min=0, help="Share of its size within which any other figure does.")] = 0.01,
              set_: Set = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Run a recorded lineage again in a new folder and say, figure by figure, what came out alike. Exit code 1 where something differs.

    Figures are identical, equivalent (of answers to the same questions the 95 % interval of the paired difference lies within --points;
    any other number within --relative), or different.
    """
    from ..alike import Tolerance
    from ..reproduce import recorded
    from ..reproduce import reproduce as run_again
    from ..screen import reproduced_lines, reproduced_tables

    recipe = recorded(existing(run), set_ or ())
    root = out or run.resolve().with_name(f"{run.resolve().name}-again")
    with walking(recipe, root, quiet) as (progress, tell):
        report = run_again(run, recipe, root, Tolerance(points / 100, relative), progress, tell)
    if as_json:
        print_json(report)
    else:
        print_tables(reproduced_tables(report))
        typer.echo("\n".join(reproduced_lines(report)))
    if report["verdict"] == "different":
        raise typer.Exit(1)


@app.command(epilog="Example: medloom sign medloom-demo --key key.pem")
def sign(place: Place, key: Annotated[Path, typer.Option(metavar="FILE", help="A private elliptic-curve key, PEM.")],
         as_json: Json = False, quiet: Quiet = False) -> None:
    """Sign a run or a model with a key of one's own, in the form of OpenSSF model signing."""
    from ..signing import sign

    signature = sign(existing(place), key)
    if as_json:
        print_json({"signature": str(signature)})
    elif not quiet:
        typer.echo(f"signed: {signature}")


@app.command(epilog="Example: medloom verify medloom-demo --key key.pub")
def verify(place: Place, key: Annotated[Path | None, typer.Option(metavar="PUB", help="The signer's public key, PEM.")] = None,
           as_json: Json = False, quiet: Quiet = False) -> None:
    """Hold a run or a model against its ledger, the digests beside its files, and its signature. Exit code 1 where one does not hold."""
    from ..signing import verify

    found = verify(existing(place), key)
    if as_json:
        print_json(found.figures())
    elif not quiet and not found.faults:
        typer.echo("\n".join(f"holds: {what}" for what in found.checked))
    for line in (*found.faults, *(found.notes if not quiet else ())):
        typer.echo(f"medloom: {line}", err=True)
    if found.faults:
        raise typer.Exit(1)


@app.command(epilog="Example: medloom gc medloom-demo   and then   medloom gc medloom-demo --yes")
def gc(run: RunFolder, roads: Annotated[int, typer.Option("--keep-roads", min=1, metavar="N", help="Last walks whose steps are kept.")] = 1,
       unfinished: Annotated[bool, typer.Option("--unfinished", help="Remove also what a stopped run would go on from.")] = False,
       yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only listed.")] = False,
       as_json: Json = False, quiet: Quiet = False) -> None:
    """List the steps that the last run does not need, with their sizes, and remove them when told to."""
    from ..ledger import Ledger, find_waste

    ledger = Ledger(existing(run))
    waste = find_waste(ledger, roads, unfinished)
    if yes:
        with ledger.opened():
            waste = find_waste(ledger, roads, unfinished)
            ledger.remove({each.folder: each.why for each in waste})
    size = sum(each.bytes for each in waste)
    if as_json:
        print_json({"removed": yes, "bytes": size, "folders": [each.figures() for each in waste]})
        return
    for each in waste:
        typer.echo(f"{each.bytes / 1e6:12,.2f} MB  {each.folder.name}  ({each.why})")
    if quiet:
        return
    if not waste:
        typer.echo("Nothing to remove.", err=True)
    else:
        done = "removed" if yes else "would be removed, and nothing was: that takes --yes"
        typer.echo(f"{len(waste)} folder{'s' * (len(waste) > 1)}, {size / 1e6:,.2f} MB {done}", err=True)

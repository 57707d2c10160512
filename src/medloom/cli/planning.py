"""The verb that says beforehand what a recipe will take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Json, Quiet, RecipeFile, Set, app, print_json, print_tables, recipe_of, rehearsed

if TYPE_CHECKING:
    from ..plan import Pace
    from ..recipe import Recipe


@app.command(epilog="Example: medloom plan recipes/meditron-7b.toml --hardware 64xH100-80G --grid CHE")
def plan(recipe: RecipeFile, set_: Set = None,
         hardware: Annotated[str | None, typer.Option("--hardware", metavar="[Nx]NAME", help="Other hardware than the recipe's: a name "
                                                      "of the table (docs/plan.md), a TOML file, or `this`.")] = None,
         grid: Annotated[str | None, typer.Option("--grid", metavar="CODE", help="The electricity of a country: CHE, FRA, USA, WORLD ...")
                         ] = None,
         utilisation: Annotated[float | None, typer.Option(min=0, max=1, help="Share of peak that training reaches.")] = None,
         probe: Annotated[bool, typer.Option("--probe", help="Take 20 real steps of each stage on this machine, and plan by their time.")
                          ] = False,
         search: Annotated[str | None, typer.Option("--search", metavar="NxNAME", help="Rank the layouts of N devices that hold the run.")
                           ] = None,
         rehearse: Annotated[bool, typer.Option("--rehearse", help="Build the layout's ranks too, without memory, and see that they fit.")
                             ] = False,
         as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell parameters, FLOPs, memory, time, cost, energy, carbon and disk of a recipe before it runs."""
    from dataclasses import asdict

    from ..plan import on_grid, on_hardware, tables
    from ..plan import plan as estimate

    read = recipe_of(recipe, set_)
    if search is not None:
        _search(read, search, as_json, quiet)
        return
    read, device = on_hardware(read, hardware) if hardware is not None else (read, None)
    if grid is not None:
        read = on_grid(read, grid)
    tell: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: typer.echo(text, err=True))
    paces = _probed(read, hardware, tell) if probe else None
    found = estimate(read, utilisation=utilisation, device=device, paces=paces)
    built = rehearsed(read) if rehearse else None
    if as_json:
        print_json(asdict(found) | ({"rehearsal": asdict(built) | {"states_gb": built.states_gb}} if built is not None else {}))
        return
    print_tables(tables(found))
    if not quiet:
        typer.echo("\n".join(f"  note: {note}" for note in found.notes))
    if built is not None:
        typer.echo(f"  {built}")


def _search(recipe: Recipe, wanted: str, as_json: bool, quiet: bool) -> None:
    """Print the layouts that fit, and what to set for the first."""
    from dataclasses import asdict

    from ..plan import counted, device, search_table
    from ..plan import search as find

    count, name = counted(wanted)
    on = device(name)
    found, refused = find(recipe, on, count or recipe.hardware.count)
    if as_json:
        rows: list[dict[str, Any]] = [asdict(one) | {"layout": one.layout.model_dump(mode="json"), "set": list(one.overrides),
                                                     "memory_per_rank_gb": one.memory.total_gb} for one in found]
        print_json({"device": on.model_dump(mode="json"), "layouts": rows, "refused": dict(refused)})
        return
    print_tables([search_table(found, refused, on.memory_gb)])
    if not quiet:
        typer.echo("To take the first:  " + " ".join(f"--set {override}" for override in found[0].overrides))


def _probed(recipe: Recipe, hardware: str | None, tell: Callable[[str], None]) -> dict[str, Pace]:
    """What 20 steps of each stage take on this machine, which must be the one that the plan is for."""
    from ..ledger import Refusal
    from ..plan import Pace, fitting_layers, this_machine
    from ..plan.network import network
    from ..train import probe

    here = this_machine()
    if hardware != "this" and recipe.hardware.name not in ("this machine", here.name):
        raise Refusal(f"--probe measures {here.name}, and the plan is for {recipe.hardware.name}; add --hardware this, or probe there")
    config, _ = network(recipe)
    paces = {}
    for name, settings in (("pretrain", recipe.pretrain), ("finetune", recipe.finetune)):
        if settings is not None:
            found = probe(config, recipe.layout, settings, fitting_layers(recipe, config, settings, here.memory_gb), tell)
            paces[name] = Pace(found.seconds, found.memory_gb, str(found))
    return paces

"""Verbs of the blind review."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Json, Quiet, app, existing, print_json, print_report, print_tables

reviews = typer.Typer(no_args_is_help=True, rich_markup_mode=None,
                      help="Have people compare models' answers side by side without knowing who wrote what.",
                      epilog="Example: medloom review init cardiology --questions questions.jsonl --model ours=ours.gguf "
                             "--model base=base.gguf --raters ann,ben")
app.add_typer(reviews, name="review")

Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's folder.")]


@reviews.command("init", epilog="Example: medloom review init cardiology --questions questions.jsonl --model ours=ours.gguf "
                                "--model base=http://gpu-7:8000/v1#llama --raters ann,ben,cho")
def review_init(
        folder: Folder,
        questions: Annotated[Path, typer.Option(metavar="FILE", help='JSON lines or CSV with "question" and, if you like, "id".')],
        model: Annotated[list[str] | None, typer.Option("--model", metavar="NAME=PATH|URL", help="A model folder, a GGUF file or an "
                         "OpenAI-compatible server (URL#MODEL where it has several); give two or more.")] = None,
        raters: Annotated[str | None, typer.Option(metavar="N|NAMES", help="How many raters, or their names with commas between.")] = None,
        settings: Annotated[Path | None, typer.Option(metavar="FILE", help="Title, instructions, axes and all else that a study may say, "
                            "in TOML.")] = None,
        title: Annotated[str | None, typer.Option(help="What raters see above all pairs.")] = None,
        per_pair: Annotated[int | None, typer.Option(min=1, help="Raters for each pair [default: all].")] = None,
        reveal: Annotated[str | None, typer.Option(help="When a rater learns who wrote what: vote, finish, never [default: vote].")] = None,
        tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens [default: 512].")] = None,
        temperature: Annotated[float | None, typer.Option(help="Of sampling; 0 takes the likeliest token [default: 0].")] = None,
        seed: Annotated[int | None, typer.Option(min=0, help="Of order, sides and sampling; keep it from the raters [default: drawn]."
                        )] = None,
        as_json: Json = False, quiet: Quiet = False) -> None:
    """Make a study: questions, models, raters, and which rater sees which pair, when and on which side."""
    from ..review import create, make_study, read_questions

    given: dict[str, Any] = {"title": title, "per_pair": per_pair, "reveal": reveal, "seed": seed,
                             "models": [_candidate(text) for text in model or ()] or None,
                             "raters": None if raters is None else _people(raters)}
    given = {key: value for key, value in given.items() if value is not None}
    sampling = {key: value for key, value in (("tokens", tokens), ("temperature", temperature)) if value is not None}
    if sampling:
        given["sampling"] = sampling
    study = make_study(settings, given, seed=secrets.randbits(32))
    asked = read_questions(existing(questions))
    for one in study.models:
        if one.path is not None:
            existing(Path(one.path))
    create(folder, study, asked)
    pairs = len(asked) * len(study.contests)
    if as_json:
        print_json({"study": str(folder), "questions": len(asked), "models": [one.name for one in study.models],
                    "raters": list(study.raters), "pairs": pairs, "votes": pairs * (study.per_pair or len(study.raters))})
    elif not quiet:
        typer.echo(f"{folder}: {len(asked)} questions, {len(study.models)} models, {pairs} pairs, {len(study.raters)} raters\n"
                   f"Next: medloom review generate {folder}", err=True)


@reviews.command("generate", epilog="Example: medloom review generate cardiology")
def review_generate(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """Have the models write their answers. What is written stays: the same command goes on after a stop."""
    from ..ledger import Bars, Silent
    from ..review import Store, generate
    from ..writers import open_writer

    try:
        found = generate(Store(folder), open_writer, Silent() if quiet else Bars())
    except KeyboardInterrupt:
        typer.echo("\nmedloom: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    if as_json:
        print_json({"study": str(folder), "models": found})
        return
    for name, told in found.items():
        caution = "".join(f", {told[key]} {words}" for key, words in (("empty", "empty"), ("cut", "at the longest length"),
                                                                      ("named", "with a model's name in them")) if told[key])
        if not quiet:
            typer.echo(f"  {name}: {told['written'] + told['there']} answers, {told['written']} of them new{caution}", err=True)
    if not quiet:
        typer.echo(f"Next: medloom review serve {folder}", err=True)


@reviews.command("serve", epilog="Example: medloom review serve cardiology --port 8100")
def review_serve(folder: Folder, host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
                 port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8100,
                 as_json: Json = False, quiet: Quiet = False) -> None:
    """Serve the raters' page, and one for you on which you see how far they are.

    Beyond this machine put it behind a server that speaks HTTPS.
    """
    from ..notice import NOTICE_SHORT
    from ..review import Store, serve

    def started(address: str, operator: str) -> None:
        if as_json:
            print_json({"study": str(folder), "url": address, "operator": operator})
            sys.stdout.flush()
        if not quiet:
            typer.echo(f"{NOTICE_SHORT}\nServing {folder} at {address}  (Ctrl-C ends it)\nYour page of the raters' progress: {operator}\n"
                       f"Raters' links: medloom review links {folder} --url {address}", err=True)

    serve(Store(folder), host=host, port=port, started=started)


@reviews.command("links", epilog="Example: medloom review links cardiology --url https://review.example.org/ --renew ann")
def review_links(folder: Folder, url: Annotated[str, typer.Option(help="Where raters reach the server.")] = "http://127.0.0.1:8100/",
                 renew: Annotated[list[str] | None, typer.Option(metavar="RATER", help="Give a new link in place of a lost one; may be "
                                  "given again.")] = None,
                 as_json: Json = False, quiet: Quiet = False) -> None:
    """Print a link for each rater that has none yet. Links are shown this once; the study keeps only their digests."""
    from ..review import Store, new_links

    store = Store(folder)
    links = {name: f"{url.rstrip('/')}/#{token}" for name, token in new_links(store, renew or ()).items()}
    if as_json:
        print_json({"study": str(folder), "links": links})
        return
    for name, link in links.items():
        typer.echo(f"{name}\t{link}")
    had = [name for name in store.study.raters if name not in links]
    if had and not quiet:
        typer.echo(f"{', '.join(had)}: given before; --renew NAME makes a new link and ends the old one", err=True)


@reviews.command("status", epilog="Example: medloom review status cardiology")
def review_status(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell how far the models and the raters are."""
    from ..review import Store, standing
    from ..review.generate import unanswered
    from ..screen import raters_table

    store = Store(folder)
    owed, raters = dict(unanswered(store)), standing(store)
    if as_json:
        print_json({"study": str(folder), "answers_missing": owed, "raters": raters})
        return
    print_tables([raters_table(raters)])
    for name, count in owed.items():
        typer.echo(f"{name}: {count} answers are missing; write them with: medloom review generate {folder}")


@reviews.command("export", epilog="Example: medloom review export cardiology --csv votes.csv --jsonl votes.jsonl")
def review_export(folder: Folder, csv: Annotated[Path | None, typer.Option(metavar="FILE", help="The CSV file to write.")] = None,
                  jsonl: Annotated[Path | None, typer.Option(metavar="FILE", help="The file of JSON lines to write.")] = None,
                  as_json: Json = False, quiet: Quiet = False) -> None:
    """Write all votes so far, with the models' names and how each answer was made."""
    from ..ledger import Refusal
    from ..review import Store, write_csv, write_jsonl

    if csv is None and jsonl is None:
        raise Refusal("nothing to write; name a file with --csv or --jsonl, or both")
    store = Store(folder)
    found = {str(path): write(store, path) for path, write in ((csv, write_csv), (jsonl, write_jsonl)) if path is not None}
    if as_json:
        print_json({"study": str(folder), "votes": found})
    elif not quiet:
        for path, count in found.items():
            typer.echo(f"{path}: {count} votes", err=True)


@reviews.command("report", epilog="Example: medloom review report cardiology")
def review_report(folder: Folder, as_json: Json = False, quiet: Quiet = False) -> None:
    """Draw what the votes show: win rates, strengths, agreement and every axis, as a page with plots and a Markdown file in STUDY."""
    from ..review import Store, draw_report

    print_report(*draw_report(Store(folder)), as_json, quiet)


def _candidate(text: str) -> dict[str, Any]:
    """NAME=PATH, NAME=URL or NAME=URL#MODEL."""
    from ..ledger import Refusal

    name, equals, place = text.partition("=")
    if not equals or not name.strip() or not place.strip():
        raise Refusal(f"--model {text}: write NAME=PATH or NAME=URL, for example --model ours=ours.gguf")
    if place.startswith(("http://", "https://")):
        url, _, served = place.partition("#")
        return {"name": name.strip(), "url": url, **({"model": served} if served else {})}
    return {"name": name.strip(), "path": str(Path(place).expanduser().absolute())}


def _people(text: str) -> list[str]:
    """Names, or as many as a number says."""
    if text.strip().isdecimal():
        return [f"rater-{number}" for number in range(1, int(text) + 1)]
    return [name.strip() for name in text.split(",") if name.strip()]

"""Command and Group: click's own, with options in sections, a page that fits its terminal, and an example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.commands import EXAMPLES
from zoo.errors import UsageError, quote

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
LONG = 10
"""Options of a command whose help page has them in sections."""
NARROW = 60
"""Columns of a page below which an option stands on a line of its own, above its help."""
SECTIONS = {
    "What": (
        "config recipe expect model as dataset init freeze metric param dataset-param metric-param kind layers counts "
        "batch-size-of-show split index grid seed-of-plot seed-of-samples augmented augment-of-samples overfit tune "
        "num-classes class-names input-shape key rename drop seconds vary trials sampler sampler-seed prune confirm "
        "models datasets part study"
    ),
    "Training": (
        "epochs batch-size lr head-lr optimizer optimizer-param momentum weight-decay decay-all schedule warmup "
        "step-epochs plateau-epochs gamma unfreeze-at accumulate clip clip-value ema loss loss-param label-smoothing "
        "class-weights balanced-sampling memory-format precision tf32 augment erase mixup cutmix augmented validation "
        "split-seed monitor patience min-delta on-collapse input-size seed seeds fork"
    ),
    "Preprocess": "scale resize interpolation rounded crop mean std",
    "Where": (
        "device processes sync-batchnorm threads workers jobs budget capture compile data-dir runs-dir "
        "checkpoint-every max-time rank-timeout offline"
    ),
    "Plugins": "plugin no-plugin",
    "Output": (
        "dry-run trace log log-param top per-class course-style output overwrite verbose csv markdown json debug help"
    ),
}
"""The sections of long help pages, with the options of each, also those of one command; what is in none comes first."""


class Formatter(click.HelpFormatter):
    """Writes a help page: headings in bold, and definitions that are readable on a narrow terminal too."""

    def write_heading(self, heading: str) -> None:
        """Write a heading; click takes the style away again where the page goes to no terminal."""
        super().write_heading(click.style(heading, bold=True))

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how a command is called."""
        super().write_usage(prog, args, prefix or f"{click.style('Usage', bold=True)}: ")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write terms and what each means."""
        if self.width >= NARROW:
            super().write_dl(list(rows), col_max, col_spacing)
            return
        for term, meaning in rows:
            # A flag and the one that turns it off take a line each.
            for part in term.replace(" / ", " /\n").split("\n"):
                self.write(f"{'':>{self.current_indent}}{part}\n")
            with self.indentation(), self.indentation():
                self.write_text(meaning)


class Word(click.types.StringParamType):
    """A text for which a shell may ask what it may be."""

    def __init__(self, place: str) -> None:
        self.place = place

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Offer what begins so."""
        from zoo.cli.completion import offer

        return offer(self.place, ctx, incomplete)


class Context(click.Context):
    """A context whose pages that formatter writes."""

    formatter_class = Formatter


class Command(click.Command):
    """A command whose many options are shown in sections, and that ends its help page with an example."""

    context_class = Context

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"context_settings": SETTINGS, **options})
        _offer_words(self)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, by section where there are many."""
        rows = [(param.opts[-1].lstrip("-"), row) for param in self.get_params(ctx) if (row := _find_row(param, ctx))]
        known = {name: section for section, names in SECTIONS.items() for name in names.split()}
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], **{section: [] for section in SECTIONS}}
        for name, row in rows:
            section = known.get(f"{name}-of-{self.name}", known.get(name, "Options"))
            sections[section if len(rows) > LONG else "Options"].append(row)
        wide = max((len(term) for _, (term, _) in rows if len(term) <= 30), default=0)
        for section, listed in sections.items():
            if listed:
                with formatter.section(section):
                    # All sections have the columns of the widest one.
                    (first, meaning), *others = listed
                    formatter.write_dl([(first.ljust(wide) if formatter.width >= NARROW else first, meaning), *others])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write an example."""
        write_example(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Offer the options, where nothing is typed yet too."""
        return super().shell_complete(ctx, incomplete or "-")


class Group(click.Group):
    """A group of commands."""

    context_class = Context
    command_class = Command

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"context_settings": SETTINGS, **options})
        _offer_words(self)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what closes the page, and an example."""
        super().format_epilog(ctx, formatter)
        write_example(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Say what does it here where there is no such command."""
        # While a line is completed, nothing is wrong with it yet.
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known and not ctx.resilient_parsing:
            from zoo.cli.hints import advise_command

            where = name_command(ctx)
            what = f"zoo {where} has no command {quote(args[0])}" if where else f"no command {quote(args[0])}"
            raise UsageError(what, fix=advise_command(args[0], where, known, args[1:]))
        return super().resolve_command(ctx, args)


def _offer_words(command: click.Command) -> None:
    """Let a shell ask what the texts of a command may be."""
    for param in command.params:
        if param.type is click.STRING:
            param.type = Word(f"{command.name} {param.name}")


def _find_row(param: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    return param.get_help_record(ctx) if isinstance(param, click.Option) else None


def write_example(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the example of a command, where there is one, on a line of its own."""
    if example := EXAMPLES.get(name_command(ctx)):
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(f"Example: {example}")


def name_command(ctx: click.Context) -> str:
    """Return the words of a command after `zoo`: `plugin new`, empty for zoo itself."""
    return ctx.command_path.partition(" ")[2]


def list_option_names(command: click.Command) -> Sequence[str]:
    """Return the long names of the options of a command."""
    options = [param for param in command.params if isinstance(param, click.Option)]
    return [name for option in options for name in option.opts if name.startswith("--")]

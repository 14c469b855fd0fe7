"""What is said is said whole, on a narrow terminal and in a pipe."""

from io import StringIO

from rich.table import Table

from sandbox.console import WholeConsole

LONG = "evaluation|suspect-identified/1|wy_crime/2018-07"


def said(**options):
    console = WholeConsole(file=StringIO(), **options)
    table = Table("job", "state", "since", box=None)
    table.add_row(LONG, "done", "2026-11-30 11:14:02")
    console.print(table)
    return console.file.getvalue()


def test_a_cell_without_room_is_folded_and_never_cut():
    narrow = said(width=40)
    assert "…" not in narrow
    assert LONG in "".join(line.split(" ")[1] for line in narrow.splitlines()[1:])


def test_a_pipe_gets_each_row_in_one_line(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert LONG in said().splitlines()[1]


def test_whoever_names_a_width_has_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, said().splitlines())) <= 60

"""A reader of the pages: takes their blocks of commands out, and runs them in one shell, from one folder."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from conftest import LIMIT, ROOT, Process, binary, wait_until


@dataclass
class Block:
    """A block of a page: indented, or fenced with a language."""

    page: str
    line: int
    language: str
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    def commands(self) -> list[tuple[int, str]]:
        """Its commands with their lines' numbers; one that a backslash continues is one."""
        commands, begun = [], None
        for number, line in enumerate(self.lines, self.line):
            before = commands.pop()[1][:-1].rstrip() + " " if begun else ""
            commands.append((begun or number, before + line.strip()))
            begun = (begun or number) if line.endswith("\\") else None
        return [(number, text) for number, text in commands if text]


def blocks(page: str) -> list[Block]:
    """All blocks of a page of the project. Within an item of a list they are indented by two more."""
    found, block, in_item = [], None, False
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        indent = "      " if in_item else "    "
        if block and block.language:
            if line.strip() == "```":
                block = None
            else:
                block.lines.append(line)
        elif line.startswith("```"):
            block = Block(page, number + 1, line[3:].strip() or "text", [])
            found.append(block)
        elif line.startswith(indent):
            if block is None:
                block = Block(page, number, "", [])
                found.append(block)
            block.lines.append(line[len(indent):])
        elif line.strip():
            block = None
            in_item = bool(re.match(r"- |\d+\. ", line)) or (in_item and line.startswith("  "))
        elif block is None:
            continue
        else:
            block.lines.append("")
    for each in found:
        while each.lines and not each.lines[-1]:
            each.lines.pop()
    return found


class Reader:
    """A shell with a home of its own, in a folder that looks like a clone of the project."""

    def __init__(self):
        # PostgreSQL's account must reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="freshet-reader-"))
        self.folder.chmod(0o755)
        (self.folder / "home").mkdir()
        (self.folder / "target" / "release").mkdir(parents=True)
        (self.folder / "target" / "release" / "freshet").symlink_to(binary().resolve())
        for name in ("deploy", "migrations", "config"):
            shutil.copytree(ROOT / name, self.folder / name)
        self.state = self.folder / "state.sh"
        self.state.write_text("")
        self.followed: list[Followed] = []
        # What stands in a page, and what it is here.
        self.here: dict[str, str] = {}
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("FRESHET")}
        self.env |= {"HOME": str(self.folder / "home"), "NO_COLOR": "1"}
        self.env.pop("XDG_DATA_HOME", None)
        self.env.pop("DATABASE_URL", None)

    def close(self):
        """Stops what still runs, as after a command that failed, and removes the folder."""
        for each in self.followed:
            each.stop()
        shutil.rmtree(self.folder)

    def write(self, name: str, text: str):
        (self.folder / name).write_text(self.localised(text))

    def localised(self, text: str) -> str:
        for there, here in self.here.items():
            text = text.replace(there, here)
        return text

    def _arguments(self, command: str) -> list[str]:
        """What is set in one command holds in the next ones."""
        state = shlex.quote(str(self.state))
        return ["bash", "--norc", "-c", f"set -a; . {state}; trap 'export -p > {state}' EXIT; {self.localised(command)}\n"]

    def run(self, command: str) -> tuple[int, str]:
        """Runs a command to its end: its exit code and all that it printed."""
        ran = subprocess.run(self._arguments(command), cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
        return ran.returncode, ran.stdout

    def follow(self, command: str, log: Path) -> "Followed":
        """Starts a command that goes on until it is stopped."""
        self.followed.append(Followed(self, command, log))
        return self.followed[-1]


class Followed(Process):
    """A command that is watched while it runs."""

    def __init__(self, reader: Reader, command: str, log: Path):
        self.log = log
        state = shlex.quote(str(reader.state))
        with log.open("wb") as output:
            # One process, which signals reach: no trap, and the command in the shell's place.
            arguments = ["bash", "--norc", "-c", f"set -a; . {state}; exec {reader.localised(command)}\n"]
            self.process = subprocess.Popen(arguments, cwd=reader.folder, env=reader.env, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output)

    def prints(self, pattern: str):
        wait_until(f"it prints {pattern}", lambda: re.search(pattern, self.text()))

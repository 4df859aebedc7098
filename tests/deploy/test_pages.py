"""Every command of README and of the pages below, run as a reader would run it, or named in NOT_RUN with the reason why not."""

import functools
import gzip
import json
import re
import shutil
import subprocess
from urllib.parse import quote

import pytest
import websocket

from conftest import ROOT, Process, binary, fetch, wait_until
from reader import Block, Reader, blocks

PAGES = ["README.md", "docs/deployment.md", "docs/sizing.md"]

# Commands that are not run, by how they begin, with the reason.
NOT_RUN = {
    "cargo run --release -- demo": "it compiles for minutes; the demo runs from the binary that the tests use",
    "./test": "it runs this test",
    "cargo bench --bench results": "it takes an hour and the whole machine; tests/it/bench.rs runs its parts",
    "sqlx migrate run": "sqlx is not installed; tests/it/without_binary.rs runs the migrations as it does",
    "python3 -m http.server 9000": "another program may have the port; tests/js/client/own_page.test.mjs serves the page",
    "docker ": "no container can run here; test_files.py checks image and Compose file",
    "systemctl ": "it changes the machine; test_files.py checks the unit",
    "kubectl ": "there is no cluster; test_chart.py renders the chart",
    "helm ": "there is no cluster; test_chart.py renders the chart",
}
# Blocks without a language that are no commands, by how they begin, with what shows that they are true.
NO_COMMANDS = {
    "  Freshet is running.": "test_the_banner_of_the_demo_is_the_readmes",
    '-> {"jsonrpc"': "test_the_dialogue_of_the_readme_takes_place",
    "terminationGracePeriodSeconds =": "test_chart.py: the chart computes it",
    "minReplicas =": "test_surge.py plays the rule",
}
# Fenced blocks that are no files of the tests below, by language.
NO_FILES = {
    "html": "tests/js/client/own_page.test.mjs opens it in Chromium",
    "ts": "tests/js/client has the client's own tests",
    "yaml": "test_chart.py renders values files for each case",
    "text": "no commands",
}
# Commands that go on until they are stopped, by how they begin, with what they print first.
FOLLOWED = {
    "freshet watch": r"85123A",
    "curl -N": r"event-stream|data: \{",
    "freshet top": r"reads|local",
    "freshet serve": r"serves",
}
# What commands print, by how they begin.
PRINTED = {
    "freshet patch products 85123A --increment": r"patched 85123A, now at stamp \d+\.\d+",
    "psql -h ~/": r"UPDATE 1",
    "freshet get products --prefix 851 --format json": r'"key":\s*"85123A"',
    "curl -i http://127.0.0.1:8080/v1/products/22423": r"(?i)200 OK[\s\S]*etag: \"\d+\.\d+\"",
    'curl "http://127.0.0.1:8080/v1/products?prefix': r'"records"',
    'curl -i -H "If-None-Match': r"304 Not Modified",
    "curl -i -X PATCH": r"200 OK",
    "freshet load products products.jsonl.gz": r"loaded 2 records",
    "freshet load products export.csv": r"loaded 2 records",
    "freshet migrate": r"64|prices",
    "freshet put prices 1": r"now at stamp \d+\.\d+",
    'psql postgres://you@db1/shop -c "UPDATE': r"UPDATE 1",
    "freshet bench get": r"\b0 errors",
    "freshet bench idle": r"bytes each",
}


def beginning(text: str, table: dict):
    """The entry of a table whose key `text` begins with, or nothing."""
    return next((value for key, value in table.items() if text.startswith(key)), None)


def commands(page: str) -> list[Block]:
    return [block for block in blocks(page) if not block.language and not beginning(block.text, NO_COMMANDS)]


def named(page: str, language: str, text: str) -> Block:
    """The block of a language with `text` in it."""
    return next(block for block in blocks(page) if block.language == language and text in block.text)


@pytest.fixture
def reader():
    reader = Reader()
    yield reader
    reader.close()


class Demo(Process):
    """The demo as README starts it, without what would change records meanwhile."""

    def __init__(self, reader: Reader, log):
        self.data = reader.folder / "demo"
        super().__init__([binary(), "demo", "--no-replay", "--readers", "0", "--data-dir", self.data, "--listen", "127.0.0.1:0",
                          "--operations", "127.0.0.1:0"], log)
        self.reader = reader

    def await_ready(self):
        self.public = self.find(r"page\s+http://([\d.:]+)/")[1]
        self.operations = self.find(r"operations\s+http://([\d.:]+)/")[1]
        folder = str(self.data)
        self.reader.here |= {"127.0.0.1:8080": self.public, "127.0.0.1:8081": self.operations,
                             "~/.local/share/freshet/demo": folder, "/home/you/.local/share/freshet/demo": folder}
        self.reader.env |= {"FRESHET_URL": f"ws://{self.public}", "FRESHET_OPERATIONS": f"http://{self.operations}"}
        wait_until("the catalogue is imported", lambda: fetch(f"http://{self.public}/v1/products/85123A")[0] == 200)


def run(block: Block, reader: Reader, tmp_path) -> list:
    """Runs the commands of a block; those that go on are returned."""
    followed = []
    for number, command in block.commands():
        at = f"{block.page}:{number}: {command}"
        if beginning(command, NOT_RUN):
            continue
        if pattern := beginning(command, FOLLOWED):
            following = reader.follow(command, tmp_path / f"{block.page.replace('/', '-')}-{number}.log")
            followed.append(following)
            following.prints(pattern)
            continue
        code, printed = reader.run(command)
        assert code == 0, f"{at}\nended with {code}:\n{printed}"
        pattern = beginning(command, PRINTED)
        assert not pattern or re.search(pattern, printed), f"{at}\ndid not print {pattern}:\n{printed}"
    return followed


def end(followed: list):
    for each in followed:
        each.stop()


def test_every_block_is_run_or_said_not_to_be():
    for page in PAGES:
        for block in blocks(page):
            if block.language:
                assert block.language in (*NO_FILES, "toml", "sql", "json"), f"{page}:{block.line}: a block of {block.language}"
    every = [text for page in PAGES for block in commands(page) for _, text in block.commands()]
    idle = [key for table in (NOT_RUN, FOLLOWED, PRINTED) for key in table if not any(text.startswith(key) for text in every)]
    assert not idle, f"no page has these any more: {idle}"
    texts = [block.text for page in PAGES for block in blocks(page) if not block.language]
    assert all(any(text.startswith(key) for text in texts) for key in NO_COMMANDS)


def test_commands_in_the_text_have_the_options_that_it_names():
    @functools.cache
    def helped(*words: str) -> str:
        """What help says of a command, or nothing."""
        return subprocess.run([binary(), "help", *words], capture_output=True, text=True).stdout

    wrong = []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = re.sub(r"\\\n\s*", " ", page.read_text())
        # In code within a line, and in lines of blocks.
        for command in re.findall(r"`freshet ([^`]+)`|^ {4,}freshet ([^\n#]+)", text, re.M):
            words = "".join(command).split()
            if not re.fullmatch(r"[a-z-]+", words[0]):
                continue
            told = helped(*words[:2]) or helped(words[0])
            options = [word.split("=")[0] for word in words if re.match(r"--[a-z]", word)]
            wrong += [f"{page.name}: freshet {' '.join(words)}" for option in options or [""] if not re.search(rf"{option}\b", told)]
    assert not wrong, wrong


def anchors(page) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "clients" / "typescript" / "README.md"]
    dead = []
    for page in pages:
        text = re.sub(r"`[^`]*`", "", page.read_text())
        for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                dead.append(f"{page.relative_to(ROOT)}: {link}")
    assert not dead, dead


def test_the_banner_of_the_demo_is_the_readmes(reader, start):
    demo = start(Demo, reader)
    banner = next(block for block in blocks("README.md") if "Freshet is running." in block.text)
    for line in banner.lines:
        assert reader.localised(line).strip() in demo.text(), line


def test_the_dialogue_of_the_readme_takes_place(reader, start):
    demo = start(Demo, reader)
    block = next(block for block in blocks("README.md") if block.text.startswith('-> {"jsonrpc"'))
    messages = re.split(r"\n(?=<-|->)", block.text)
    socket = websocket.create_connection(f"ws://{demo.public}/v1/ws", timeout=30)
    try:
        for message in messages:
            arrow, text = message[:2], "".join(line.strip() for line in message[2:].splitlines())
            if arrow == "->":
                socket.send(text)
                continue
            # Numbers of this run, and what the page leaves out.
            expected = re.sub(r"\\?\s*\\\.\\\.\\\.", ".*", re.sub(r"\d{2,}", r"\\d+", re.escape(text).replace("1\\.4077", r"\d+\.\d+")))
            said = socket.recv()
            assert re.fullmatch(expected, said), f"{text}\nis in truth\n{said}"
    finally:
        socket.close()


def prepared(reader: Reader):
    """Files that README's reader has."""
    reader.write("keys.txt", "85123A\n22423\n")
    rows = [{"sku": f"NEW{n}", "name": "MUG", "price": 100 + n} for n in range(2)]
    (reader.folder / "products.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    reader.write("export.csv", "sku;name;price;stock\nNEW2;MUG;1;3\nNEW3;PLATE;2;4\n")


def test_the_commands_of_the_readme_do_what_it_says(reader, start, tmp_path):
    start(Demo, reader)
    prepared(reader)
    before_tables = named("README.md", "sql", "freshet.track").line
    for block in [block for block in commands("README.md") if block.line < before_tables]:
        followed = run(block, reader, tmp_path)
        if any("watch products 85123A" in " ".join(each.process.args) for each in followed) and "patch" in block.text:
            # The next block changes the row by psql.
            watch = followed
        else:
            end(followed)
        if "UPDATE products" in block.text:
            watch[0].prints(r"199\b")
            end(watch)
    completes(reader)


def completes(reader: Reader):
    """The three shells complete what README has installed, as it says."""
    code, printed = reader.run("bash --norc -c '. /usr/share/bash-completion/bash_completion; "
                               "_comp_load freshet 2>/dev/null || _completion_loader freshet; complete -p freshet'")
    assert "_freshet" in printed, printed
    code, printed = reader.run("zsh -f -c 'fpath+=~/.zfunc; autoload -Uz compinit; compinit -u -D; print -r -- $_comps[freshet]'")
    assert printed.strip() == "_freshet", printed
    code, printed = reader.run("fish -c 'complete --do-complete \"freshet wat\"'")
    assert printed.startswith("watch"), printed


def database(reader: Reader, demo: Demo, table: str):
    """A database `shop` that `you` own, migrations with `table`, and the configuration of README."""
    folder = quote(str(demo.data), safe="")
    admin = ["psql", "-h", demo.data, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-d"]
    subprocess.run([*admin, "postgres", "-c", "DROP DATABASE IF EXISTS shop WITH (FORCE)",
                    "-c", "CREATE DATABASE shop OWNER you ENCODING 'UTF8' TEMPLATE template0"], check=True, capture_output=True)
    reader.here |= {"@db1/": f"@{folder}/", "@db2/": f"@{folder}/"}
    reader.env |= {"FRESHET__GATEWAY__LISTEN": "127.0.0.1:0", "FRESHET__GATEWAY__OPERATIONS": "127.0.0.1:0"}
    shutil.rmtree(reader.folder / "my-migrations", ignore_errors=True)
    shutil.copytree(reader.folder / "migrations", reader.folder / "my-migrations")
    reader.write("my-migrations/1001_prices.sql", table)


def serves_prices(followed: list, status: int):
    """A node that README has started has the table, with a price or without."""
    wait_until("prices are served", lambda: fetch(f"http://{public(followed[-1])}/v1/prices/1")[0] == status)
    end(followed)


def public(node) -> str:
    return node.find(r"public=([\d.:]+)")[1]


def test_own_tables_are_served_by_the_readmes_commands(reader, start, tmp_path):
    demo = start(Demo, reader)
    subprocess.run(["psql", "-h", demo.data, "-U", "postgres", "-c", "CREATE ROLE you LOGIN CREATEROLE"], check=True, capture_output=True)
    (reader.folder / "home" / ".psqlrc").write_text("")
    reader.run('export PATH="$PWD/target/release:$PATH"')
    sql = named("README.md", "sql", "freshet.track")
    partitioned, plain = [block for block in blocks("README.md") if block.language == "toml" and "[[database]]" in block.text][:2]
    own = [block for block in commands("README.md") if block.line > sql.line]
    database(reader, demo, sql.text)
    reader.write("freshet.toml", partitioned.text)
    followed = []
    for block in [block for block in own if block.line < plain.line]:
        followed += run(block, reader, tmp_path)
        if followed:
            reader.run(f"export FRESHET_URL=ws://{public(followed[-1])}")
    serves_prices(followed, 200)

    # A plain table, with the file and the command that follow.
    database(reader, demo, re.sub(r"\) PARTITION BY HASH \(id\);", ");", sql.text))
    reader.write("freshet.toml", plain.text)
    for block in [block for block in own if block.line > plain.line]:
        run(block, reader, tmp_path)
    following = reader.follow("freshet serve --config freshet.toml", tmp_path / "plain.log")
    serves_prices([following], 404)


def test_the_commands_of_deployment_work_where_no_container_is_needed(reader, tmp_path):
    root = reader.folder / "machine"
    for folder in ("usr/local/bin", "etc/systemd/system"):
        (root / folder).mkdir(parents=True)
    reader.here |= {" /usr/local/bin/": f" {root}/usr/local/bin/", " /etc/": f" {root}/etc/"}
    reader.write("my-freshet.toml", '[[database]]\nurl = "postgres://freshet@db1/shop"\n')
    reader.write("my-environment", "PGPASSWORD=secret\n")
    for block in commands("docs/deployment.md"):
        run(block, reader, tmp_path)
    assert (reader.folder / "deploy" / "compose" / ".env").exists()
    unit = (root / "etc/systemd/system/freshet.service").read_text()
    for installed in ("/usr/local/bin/freshet", "/etc/freshet/freshet.toml", "/etc/freshet/environment"):
        assert installed in unit and (root / installed[1:]).exists()


def test_the_commands_of_sizing_measure_a_node(reader, start, tmp_path):
    demo = start(Demo, reader)
    reader.run('export PATH="$PWD/target/release:$PATH"')
    reader.here |= {"--pid PID": f"--pid {demo.process.pid}"}
    for block in commands("docs/sizing.md"):
        end(run(block, reader, tmp_path))

//! The house: a file imports its own module and lower floors, nothing else. Between packages the compiler keeps that.

mod limits;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Every top-level module with its floor.
const FLOORS: &[(&str, u8)] = &[
    ("cli", 9),
    ("app", 8),
    ("config", 7),
    ("gateway", 6),
    ("session", 5),
    ("service", 4),
    ("changes", 4),
    ("tiers", 3),
    ("shared", 2),
    ("store", 2),
    ("shared", 2),
    ("hub", 2),
    ("client", 2),
    ("protocol", 1),
    ("resilience", 1),
    ("digest", 0),
    ("completion", 0),
    ("process", 0),
    ("record", 0),
    ("telemetry", 0),
    ("shutdown", 0),
    ("sync", 0),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("src is readable").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// The top-level module a file below `folder` belongs to: `src/hub/topic.rs` is of `hub`.
fn module_of(path: &Path, folder: &Path) -> String {
    let inner = path.strip_prefix(folder).expect("a path below the folder");
    let first = inner.components().next().expect("a file").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The top-level modules that a text names after `crate::`, alone or in a braced list.
fn imported(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut modules = Vec::new();
    for (_, rest) in code.match_indices("crate::").map(|(at, found)| (at, &code[at + found.len()..])) {
        match rest.strip_prefix('{') {
            None => modules.push(name(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && depth == 0 && !c.is_whitespace() => {
                            modules.push(name(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    modules
}

#[test]
fn imports_point_down() {
    let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire/src");
    let wrong: Vec<_> =
        [source_folder(), wire].iter().flat_map(|folder| imports_that_do_not_point_down(folder)).collect();
    assert!(wrong.is_empty(), "imports that do not point down:\n{}", wrong.join("\n"));
}

fn imports_that_do_not_point_down(folder: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    for path in sources(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let own = module_of(&path, folder);
        if matches!(own.as_str(), "lib" | "main") {
            continue;
        }
        let Some(own_floor) = floor(&own) else {
            wrong.push(format!("{own} has no floor: add it to FLOORS"));
            continue;
        };
        for module in imported(&fs::read_to_string(&path).expect("a source file")) {
            let below = floor(&module).is_some_and(|floor| floor < own_floor);
            if module != own && !below {
                wrong.push(format!("{} imports crate::{module}", path.display()));
            }
        }
    }
    wrong
}

#[test]
fn only_the_gateway_knows_axum_only_postgres_knows_sqlx_and_only_the_shared_tier_knows_redis() {
    let mut wrong = Vec::new();
    for path in sources(&source_folder()) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let inner = path.strip_prefix(source_folder()).expect("below src").to_string_lossy().into_owned();
        for (library, home) in [
            ("axum::", "gateway/"),
            ("sqlx::", "store/postgres/"),
            ("use redis", "shared/"),
            ("redis::Client", "shared/"),
        ] {
            if text.contains(library) && !inner.starts_with(home) {
                wrong.push(format!("{inner} uses {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_program_with_the_client_compiles_no_server() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args([
        "tree",
        "--locked",
        "--offline",
        "--package",
        "freshet-client",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = String::from_utf8(output.stdout).expect("text");
    assert!(packages.contains("freshet-wire"));
    for server in ["freshet", "axum", "hyper", "sqlx", "moka", "clap"] {
        assert!(!packages.lines().any(|line| line.split(' ').next() == Some(server)), "{server} is among them");
    }
}

#[test]
fn a_list_of_imports_is_read_whole() {
    let text = "use crate::{\n    hub::{Hub, Slots},\n    record::Key,\n};\nfn f() { crate::tiers::g() } // crate::cli";
    assert_eq!(imported(text), ["hub", "record", "tiers", "cli"]);
    assert_eq!(imported("    // use crate::cli;\n"), Vec::<String>::new());
}

/// The documents that lead through the code.
const GUIDES: [&str; 2] = ["ARCHITECTURE.md", "docs/coherence.md"];

#[test]
fn what_the_guides_name_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["", "src", "wire/src", "clients/rust/src", "tests/it"].map(|folder| root.join(folder));
    let code: String = ["src", "wire/src", "clients/rust/src", "tests"]
        .iter()
        .flat_map(|folder| sources(&root.join(folder)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).expect("a source file"))
        .collect();
    let mut wrong = Vec::new();
    for guide in GUIDES {
        let text = fs::read_to_string(root.join(guide)).expect("a guide");
        for named in text.split('`').skip(1).step_by(2) {
            let is_path = named.ends_with(".rs") || named.ends_with(".sql") || named.ends_with(".mjs");
            let is_test = named.matches('_').count() > 2 && named.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            let is_there = match (is_path, is_test) {
                (true, _) => folders.iter().any(|folder| folder.join(named).exists()),
                (_, true) => code.contains(&format!("fn {named}")) || code.contains(named),
                _ => true,
            };
            if !is_there {
                wrong.push(format!("{guide} names {named}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! `freshet completions bash`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Error, Output};

/// For which shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Install, for you alone:
  bash        freshet completions bash > ~/.local/share/bash-completion/completions/freshet
                                                               (with the package bash-completion)
  zsh         freshet completions zsh > ~/.zfunc/_freshet      (with fpath+=~/.zfunc before compinit)
  fish        freshet completions fish > ~/.config/fish/completions/freshet.fish
  elvish      freshet completions elvish >> ~/.config/elvish/rc.elv
  powershell  freshet completions powershell >> $PROFILE

The folder must exist (mkdir -p); a new shell has them. Or try it in this shell only: source <(freshet completions bash)")]
pub struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script that completes this command line.
///
/// # Errors
/// [`Error::Output`].
pub fn run(args: &Args, output: &mut Output) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "freshet", &mut script);
    output.text(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::cli::{Format, output::tests::Printed};

    #[test]
    fn every_shell_has_a_script_that_knows_the_commands() {
        for &shell in Shell::value_variants() {
            let (mut output, printed) = Printed::output(Format::Human);
            run(&Args { shell }, &mut output).expect("printed");
            for word in ["freshet", "shard-of", "top", "keys-from"] {
                assert!(printed.text().contains(word), "{shell} does not know {word}");
            }
        }
    }
}

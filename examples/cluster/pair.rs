//! A primary and its standby, which can change places. A file beside their data remembers which is which.

use std::{
    fs,
    path::{Path, PathBuf},
};

use freshet::store::postgres::server::Options;

use super::instance::{Instance, Result, remove_data};

/// Two servers, or a primary alone.
pub struct Pair {
    pub primary: Instance,
    pub standby: Option<Instance>,
    /// Holds the name of the primary, once it is not the first.
    memory: PathBuf,
}

impl Pair {
    /// Starts the server `name` on the data in `folder` and, when asked, its standby, made anew where it holds another
    /// primary's data.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(
        folder: &Path,
        name: &str,
        has_standby: bool,
        options: &impl Fn(PathBuf) -> Options,
    ) -> Result<Self> {
        let memory = folder.join(format!("{name}.primary"));
        let (first, second) = (name.to_owned(), format!("{name}2"));
        let (primary, standby) = match fs::read_to_string(&memory) {
            Ok(remembered) if remembered.trim() == second => (second, first),
            _ => (first, second),
        };
        let primary = Instance::start(options(folder.join(primary))).await?;
        let mut pair = Pair { primary, standby: None, memory };
        if has_standby {
            pair.standby = Some(pair.start_standby(options(folder.join(standby))).await?);
        }
        Ok(pair)
    }

    async fn start_standby(&self, mut options: Options) -> Result<Instance> {
        let folder = &options.data_dir;
        if folder.join("PG_VERSION").exists() && !folder.join("standby.signal").exists() {
            // Only after a promotion here is it certain that this data is not the last copy.
            if !self.memory.exists() {
                return Err(format!("{} is no standby's: remove it, or choose another folder", folder.display()).into());
            }
            remove_data(folder)?;
        }
        options.primary = Some(self.primary.as_primary());
        Instance::start(options).await
    }

    /// Both, the standby first.
    pub fn servers(&self) -> impl Iterator<Item = &Instance> {
        self.standby.iter().chain([&self.primary])
    }

    /// Makes the standby the primary. The former one is left as it is; start it, and there are two.
    ///
    /// # Errors
    /// When the pair has no standby, or the standby does not answer.
    pub async fn promote(&mut self) -> Result<()> {
        let standby = self.standby.as_mut().ok_or("it has no standby")?;
        standby.promote().await?;
        std::mem::swap(&mut self.primary, standby);
        Ok(fs::write(&self.memory, self.primary.name())?)
    }

    /// Throws the data of the server that is not the primary away, makes it a standby and returns when it has caught up.
    ///
    /// # Errors
    /// When the primary cannot be copied.
    pub async fn rebuild(&mut self) -> Result<()> {
        let standby = self.standby.as_mut().ok_or("it has no standby")?;
        standby.rebuild(&self.primary).await?;
        standby.wait_for_replay(&self.primary).await
    }

    /// Shuts both down, the standby first: a primary waits for one that is frozen.
    pub async fn stop(&mut self) {
        for server in self.standby.iter_mut().chain([&mut self.primary]) {
            server.stop().await;
        }
    }
}

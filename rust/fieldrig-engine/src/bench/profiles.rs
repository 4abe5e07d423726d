//! Profiles as they are chosen outside the bench file.

use super::file::Profile;

/// Which profile each DUT is to have, as chosen outside the bench file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profiles {
    default: Option<Profile>,
    pub(super) by_device: Vec<(String, Profile)>,
}

/// Why a text chooses no profile.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProfileError {
    /// What is wrong.
    pub message: String,
    /// A known remedy.
    pub hint: Option<String>,
}

impl Profiles {
    /// Reads choices: `real` for all DUTs, `gateway=real` for one; later ones win. An empty list leaves the choice to
    /// the bench file.
    ///
    /// # Errors
    /// A word that is no profile.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Profiles, ProfileError> {
        let mut profiles = Profiles::default();
        for word in words.iter().flat_map(|words| words.as_ref().split(',')) {
            let (device, word) = word.trim().split_once('=').map_or((None, word.trim()), |(d, w)| (Some(d), w));
            let profile = Profile::parse(word).map_err(|(message, hint)| ProfileError { message, hint })?;
            match device {
                Some(device) => profiles.by_device.push((device.trim().to_owned(), profile)),
                None => profiles.default = Some(profile),
            }
        }
        Ok(profiles)
    }

    pub(super) fn of(&self, device: &str, file: Profile) -> Profile {
        let own = self.by_device.iter().rev().find(|(name, _)| name == device);
        own.map(|(_, profile)| *profile).or(self.default).unwrap_or(file)
    }
}

//! What a job file says about things that a cluster has lost: `lost`.

use highwater::{LostChangelog, LostRecords, MissingPosition, Settings};

use super::fields::{Fields, Problems, one_of};

/// What follows when something is not there that was. Unless the file says otherwise the job stops, and says what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    records: LostRecords,
    position: MissingPosition,
    changelog: LostChangelog,
}

impl Lost {
    /// Becomes part of the settings of the job.
    pub(crate) fn settle(self, settings: &mut Settings) {
        settings.on_lost_records = self.records;
        settings.on_missing_position = self.position;
        settings.on_lost_changelog = self.changelog;
    }
}

/// Reads `lost`.
pub(super) fn read(file: &mut Fields<'_>, problems: &Problems) -> Lost {
    let Some(mut group) = file.optional("lost").and_then(|node| Fields::of("`lost`", node, problems)) else { return Lost::default() };
    let records = group.read("records", |text| {
        one_of(text, &[("stop", LostRecords::Fail), ("skip", LostRecords::Skip), ("rebuild", LostRecords::Rebuild)])
    });
    let position = group.read("position", |text| one_of(text, &[("stop", MissingPosition::Fail), ("reset", MissingPosition::Reset)]));
    let changelog = group.read("changelog", |text| one_of(text, &[("stop", LostChangelog::Fail), ("rebuild", LostChangelog::Rebuild)]));
    group.finish();
    Lost { records: records.unwrap_or_default(), position: position.unwrap_or_default(), changelog: changelog.unwrap_or_default() }
}

//! Ext units: where a unit leads to one, its tags code is found there.

use std::path::PathBuf;

use super::numbered_files;
use super::window::Window;
use crate::commit_log::segments::file_name;
use crate::consume_queue::Unit;
use crate::consume_queue::ext::{EXT_UNIT_BYTES, position};
use crate::consume_queue::unit::UNIT_BYTES;
use crate::error::StoreError;

const PIECE_BYTES: usize = 64 << 10;

/// The ext files of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ext {
    directory: PathBuf,
    pub(super) file_bytes: u64,
}

impl Ext {
    /// `None` when there are no files.
    pub(super) fn open(directory: PathBuf) -> Result<Option<Self>, StoreError> {
        if !directory.is_dir() {
            return Ok(None);
        }
        let (files, _) = numbered_files(&directory).map_err(StoreError::io("list", &directory))?;
        let used = files.iter().find(|file| file.bytes > 0);
        Ok(used.map(|file| Self {
            directory,
            file_bytes: file.bytes,
        }))
    }

    /// Puts the tags code of the ext unit in place of its address into each of `units`; an address
    /// that leads to nothing stays.
    pub(super) fn resolve(&self, units: &mut [u8]) {
        let mut open: Option<(u64, Window)> = None;
        for raw in units.as_chunks_mut::<UNIT_BYTES>().0 {
            let Some(unit) = Unit::decode(raw) else {
                return;
            };
            let Some(at) = position(unit.tags_code) else {
                continue;
            };
            let base = at - at % self.file_bytes;
            if open.as_ref().is_none_or(|(open, _)| *open != base) {
                let path = self.directory.join(file_name(base));
                open = Window::open(&path, PIECE_BYTES)
                    .ok()
                    .map(|window| (base, window));
            }
            let found = open
                .as_mut()
                .and_then(|(_, window)| tags_code(window, at - base));
            if let Some(tags_code) = found {
                *raw = Unit { tags_code, ..unit }.encode();
            }
        }
    }
}

fn tags_code(window: &mut Window, at: u64) -> Option<i64> {
    let unit = window.at(at, EXT_UNIT_BYTES).ok()?;
    let (size, rest) = unit.split_first_chunk()?;
    let whole = usize::try_from(i16::from_be_bytes(*size)).is_ok_and(|size| size >= EXT_UNIT_BYTES);
    let code = rest.first_chunk().map(|code| i64::from_be_bytes(*code))?;
    (whole && unit.len() == EXT_UNIT_BYTES).then_some(code)
}

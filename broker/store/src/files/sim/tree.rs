//! Directories of the simulated disk, and what a crash makes of them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::Content;

pub(super) type NodeId = usize;
const ROOT: NodeId = 0;

/// A directory tree with everything that is not synced yet. A clone is cheap.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    nodes: Vec<Option<Arc<Node>>>,
    /// Changes of names no sync has made durable, oldest first.
    changes: Vec<NameChange>,
}

#[derive(Debug, Clone)]
enum Node {
    File(Content),
    Directory(Directory),
}

#[derive(Debug, Clone, Default)]
struct Directory {
    durable: BTreeMap<Arc<str>, NodeId>,
    now: BTreeMap<Arc<str>, NodeId>,
}

/// One name gets another meaning; a renamed file loses its old name in the same step.
#[derive(Debug, Clone)]
struct NameChange {
    directory: NodeId,
    name: Arc<str>,
    node: Option<NodeId>,
    old_name: Option<(NodeId, Arc<str>)>,
}

/// Something a power cut may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unsynced {
    pub(super) what: What,
    /// How many versions were written since the last sync; a cut leaves one of them or, as version
    /// 0, what was there before.
    pub versions: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum What {
    Name(usize),
    Length(NodeId),
    Sector(NodeId, usize),
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node::Directory(Directory::default());
        Self {
            nodes: vec![Some(Arc::new(root))],
            changes: Vec::new(),
        }
    }

    fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)?.as_deref()
    }

    fn directory(&self, id: NodeId) -> Option<&Directory> {
        match self.node(id)? {
            Node::Directory(directory) => Some(directory),
            Node::File(_) => None,
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> Option<&mut Directory> {
        match Arc::make_mut(self.nodes.get_mut(id)?.as_mut()?) {
            Node::Directory(directory) => Some(directory),
            Node::File(_) => None,
        }
    }

    pub(super) fn content(&self, id: NodeId) -> Option<&Content> {
        match self.node(id)? {
            Node::File(content) => Some(content),
            Node::Directory(_) => None,
        }
    }

    pub(super) fn content_mut(&mut self, id: NodeId) -> Option<&mut Content> {
        match Arc::make_mut(self.nodes.get_mut(id)?.as_mut()?) {
            Node::File(content) => Some(content),
            Node::Directory(_) => None,
        }
    }

    /// What has this path now.
    pub(super) fn find(&self, path: &Path) -> Option<NodeId> {
        let mut at = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                at = *self.directory(at)?.now.get(name.to_str()?)?;
            }
        }
        Some(at)
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let found = self.find(path).filter(|id| self.content(*id).is_some());
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.find(path)
            .is_some_and(|id| self.directory(id).is_some())
    }

    fn parent_and_name<'a>(&self, path: &'a Path) -> io::Result<(NodeId, &'a str)> {
        let parent = path.parent().and_then(|parent| self.find(parent));
        let name = path.file_name().and_then(|name| name.to_str());
        match (parent.filter(|id| self.directory(*id).is_some()), name) {
            (Some(parent), Some(name)) => Ok((parent, name)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Names and nodes of what is in a directory now.
    pub(super) fn entries(&self, directory: &Path) -> impl Iterator<Item = (&Arc<str>, NodeId)> {
        let found = self.find(directory).and_then(|id| self.directory(id));
        found
            .into_iter()
            .flat_map(|directory| directory.now.iter().map(|(name, id)| (name, *id)))
    }

    /// Makes an empty file.
    pub(super) fn link_file(&mut self, path: &Path) -> io::Result<NodeId> {
        self.link(path, Node::File(Content::default()))
    }

    pub(super) fn link_directory(&mut self, path: &Path) -> io::Result<NodeId> {
        self.link(path, Node::Directory(Directory::default()))
    }

    fn link(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        if self.find(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (directory, name) = self.parent_and_name(path)?;
        let (id, name) = (self.nodes.len(), Arc::from(name));
        self.nodes.push(Some(Arc::new(node)));
        self.change(NameChange {
            directory,
            name,
            node: Some(id),
            old_name: None,
        });
        Ok(id)
    }

    /// Takes a name away; whoever has the file open keeps it.
    pub(super) fn unlink(&mut self, path: &Path) -> io::Result<NodeId> {
        let id = self.find(path).ok_or(io::ErrorKind::NotFound)?;
        let (directory, name) = self.parent_and_name(path)?;
        let name = Arc::from(name);
        self.change(NameChange {
            directory,
            name,
            node: None,
            old_name: None,
        });
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = Some(self.find_file(from)?);
        let (old_directory, old_name) = self.parent_and_name(from)?;
        let old_name = Some((old_directory, Arc::from(old_name)));
        let (directory, name) = self.parent_and_name(to)?;
        let name = Arc::from(name);
        self.change(NameChange {
            directory,
            name,
            node,
            old_name,
        });
        Ok(())
    }

    fn change(&mut self, change: NameChange) {
        self.apply(&change, |directory| &mut directory.now);
        self.changes.push(change);
    }

    fn apply(
        &mut self,
        change: &NameChange,
        names: impl Fn(&mut Directory) -> &mut BTreeMap<Arc<str>, NodeId>,
    ) {
        if let Some((directory, name)) = &change.old_name
            && let Some(directory) = self.directory_mut(*directory)
        {
            names(directory).remove(name);
        }
        let Some(directory) = self.directory_mut(change.directory) else {
            return;
        };
        match change.node {
            Some(node) => names(directory).insert(Arc::clone(&change.name), node),
            None => names(directory).remove(&change.name),
        };
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_directory(&mut self, id: NodeId) {
        for change in std::mem::take(&mut self.changes) {
            if change.directory == id {
                self.apply(&change, |directory| &mut directory.durable);
            } else {
                self.changes.push(change);
            }
        }
    }

    /// Everything in `id` and below, `id` first.
    pub(super) fn below(&self, id: NodeId) -> Vec<NodeId> {
        let mut found = vec![id];
        let mut at = 0;
        while let Some(id) = found.get(at) {
            if let Some(directory) = self.directory(*id) {
                found.extend(directory.now.values());
            }
            at += 1;
        }
        found
    }

    /// Makes everything in a directory and below durable.
    pub(super) fn sync_below(&mut self, id: NodeId) {
        for id in self.below(id) {
            if self
                .content(id)
                .is_some_and(|content| !content.is_durable())
            {
                self.content_mut(id).into_iter().for_each(Content::sync);
            }
            if self.directory(id).is_some() {
                self.sync_directory(id);
            }
        }
    }

    /// A sync of everything below failed, see [`Content::forget_unsynced`].
    pub(super) fn forget_below(&mut self, id: NodeId) {
        for id in self.below(id) {
            let content = self.content_mut(id);
            content.into_iter().for_each(Content::forget_unsynced);
        }
    }

    /// Paths of all files.
    pub(super) fn paths(&self) -> Vec<(PathBuf, NodeId)> {
        let mut found = Vec::new();
        let mut directories = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = directories.pop() {
            for (name, id) in self.directory(id).iter().flat_map(|it| &it.now) {
                let path = path.join(&**name);
                match self.node(*id) {
                    Some(Node::Directory(_)) => directories.push((path, *id)),
                    Some(Node::File(_)) => found.push((path, *id)),
                    None => {}
                }
            }
        }
        found.sort();
        found
    }

    /// See [`Content::is_deceptive`].
    pub(super) fn is_deceptive(&self) -> bool {
        let mut ids = 0..self.nodes.len();
        ids.any(|id| self.content(id).is_some_and(Content::is_deceptive))
    }

    /// Everything a power cut may lose.
    pub(super) fn unsynced(&self) -> Vec<Unsynced> {
        let item = |what, versions| Unsynced { what, versions };
        let (mut all, mut reached) = (Vec::new(), vec![ROOT]);
        let mut at = 0;
        // A later change can only name what an earlier one, or the directory itself, made known.
        while let Some(id) = reached.get(at).copied() {
            at += 1;
            let Some(directory) = self.directory(id) else {
                continue;
            };
            let changed = self.changes.iter().filter(|change| change.directory == id);
            let named = directory.durable.values().copied();
            for node in named.chain(changed.filter_map(|change| change.node)) {
                if !reached.contains(&node) {
                    reached.push(node);
                }
            }
        }
        for (index, change) in self.changes.iter().enumerate() {
            if reached.contains(&change.directory) {
                all.push(item(What::Name(index), 1));
            }
        }
        reached.sort_unstable();
        for id in reached {
            let Some(content) = self.content(id) else {
                continue;
            };
            if content.unsynced_lengths() > 0 {
                all.push(item(What::Length(id), content.unsynced_lengths()));
            }
            let sectors = content.unsynced_sectors();
            all.extend(sectors.map(|(sector, versions)| item(What::Sector(id, sector), versions)));
        }
        all
    }

    /// What a power cut leaves, see [`Content::after_power_cut`]. Nothing is unsynced then.
    pub(super) fn after_power_cut(&self, mut keep: impl FnMut(Unsynced) -> usize) -> Self {
        let mut left = Self {
            nodes: self.nodes.clone(),
            changes: Vec::new(),
        };
        for (index, change) in self.changes.iter().enumerate() {
            let what = What::Name(index);
            if keep(Unsynced { what, versions: 1 }) > 0 {
                left.apply(change, |directory| &mut directory.durable);
            }
        }
        for (id, node) in left.nodes.iter_mut().enumerate() {
            let changed = match node.as_deref() {
                Some(Node::File(content)) if !content.is_durable() => {
                    let left = content.after_power_cut(|sector, versions| {
                        let what = sector.map_or(What::Length(id), |at| What::Sector(id, at));
                        match versions {
                            0 => 0,
                            _ => keep(Unsynced { what, versions }),
                        }
                    });
                    Node::File(left)
                }
                Some(Node::Directory(directory)) if directory.now != directory.durable => {
                    let mut left = directory.clone();
                    left.now = left.durable.clone();
                    Node::Directory(left)
                }
                _ => continue,
            };
            *node = Some(Arc::new(changed));
        }
        left.forget_unreachable();
        left
    }

    fn forget_unreachable(&mut self) {
        let mut reached = vec![false; self.nodes.len()];
        for id in self.below(ROOT) {
            reached[id] = true;
        }
        for (node, reached) in self.nodes.iter_mut().zip(reached) {
            if !reached {
                *node = None;
            }
        }
    }

    /// In words, for a report.
    pub(super) fn describe(&self, item: &Unsynced) -> String {
        let path = |id| {
            let paths = self.paths();
            let found = paths.into_iter().find(|(_, there)| *there == id);
            found.map_or_else(
                || format!("deleted file {id}"),
                |(path, _)| path.display().to_string(),
            )
        };
        match item.what {
            What::Name(index) => {
                let NameChange {
                    name,
                    node,
                    old_name,
                    ..
                } = &self.changes[index];
                match (node, old_name) {
                    (_, Some((_, old))) => format!("rename {old} to {name}"),
                    (Some(id), None) => format!("name of {}", path(*id)),
                    (None, None) => format!("removal of the name {name}"),
                }
            }
            What::Length(id) => format!("length of {}", path(id)),
            What::Sector(id, sector) => format!("sector {sector} of {}", path(id)),
        }
    }
}

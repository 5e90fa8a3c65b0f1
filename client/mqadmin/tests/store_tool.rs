//! `mqadmin store` with the real binary on small stores.

#[cfg(test)]
mod made;
#[cfg(test)]
mod store_tool {
    mod ls;
    mod messages;
    mod rebuild;
    mod verify;
    mod wholes;
}

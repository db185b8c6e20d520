//! Where the program is.

use std::{
    env::consts,
    ffi::OsString,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::AnvilError;

/// Where to look for the program.
#[derive(Clone, Debug, Default)]
pub struct FindOptions {
    /// Exactly here, and nowhere else.
    pub explicit: Option<PathBuf>,
    /// The value of `PATH`.
    pub path_var: Option<OsString>,
    /// From this directory upward, in `tools/node_modules`.
    pub start_dir: Option<PathBuf>,
}

/// The first program of all places, in this order.
pub(crate) fn find(options: &FindOptions) -> Result<PathBuf, AnvilError> {
    if let Some(path) = &options.explicit {
        return program(path).ok_or_else(|| AnvilError::NotAProgram { path: path.clone() });
    }
    let mut looked = Vec::new();
    let on_path = options.path_var.iter().flat_map(std::env::split_paths);
    let upward = options.start_dir.iter().flat_map(|dir| dir.ancestors());
    let candidates = on_path
        .filter(|dir| !dir.as_os_str().is_empty())
        .map(|dir| dir.join("anvil"))
        .chain(upward.flat_map(|dir| in_modules(&dir.join("tools/node_modules/@foundry-rs"))));
    for candidate in candidates {
        if let Some(found) = program(&candidate) {
            return Ok(found);
        }
        looked.push(candidate);
    }
    Err(AnvilError::NotFound { looked })
}

/// Where npm puts the platform's own package: beside the wrapper, or below it.
fn in_modules(scope: &Path) -> Vec<PathBuf> {
    let package = platform_package();
    vec![
        scope.join(&package).join("bin/anvil"),
        scope.join("anvil/node_modules/@foundry-rs").join(package).join("bin/anvil"),
    ]
}

fn platform_package() -> String {
    let system = if consts::OS == "macos" { "darwin" } else { consts::OS };
    let machine = match consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("anvil-{system}-{machine}")
}

/// The program at this path: itself, or what the npm wrapper at this path would start.
fn program(path: &Path) -> Option<PathBuf> {
    if !is_executable(path) {
        return None;
    }
    if !is_script(path) {
        return Some(path.to_owned());
    }
    // `.bin/anvil` is a link to `@foundry-rs/anvil/bin.mjs`.
    let wrapper = fs::canonicalize(path).ok()?;
    let scope = wrapper.ancestors().find(|dir| dir.ends_with("@foundry-rs"))?;
    in_modules(scope).into_iter().find(|path| is_executable(path) && !is_script(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"#!"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(path: &Path, contents: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn not_a_program(result: Result<PathBuf, AnvilError>) -> PathBuf {
        match result {
            Err(AnvilError::NotAProgram { path }) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_explicit_path_is_the_only_one() {
        let dir = tempfile::tempdir().unwrap();
        let explicit = dir.path().join("mine");
        put(&dir.path().join("bin/anvil"), b"\x7fELF");
        let options = FindOptions {
            explicit: Some(explicit.clone()),
            path_var: Some(dir.path().join("bin").into()),
            start_dir: None,
        };
        assert_eq!(not_a_program(find(&options)), explicit);
        put(&explicit, b"#!/bin/sh\n");
        assert_eq!(not_a_program(find(&options)), explicit);
        put(&explicit, b"\x7fELF");
        assert_eq!(find(&options).unwrap(), explicit);
    }

    #[test]
    fn path_comes_before_the_tools_and_a_wrapper_leads_to_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let modules = dir.path().join("tools/node_modules");
        let real = modules.join("@foundry-rs").join(platform_package()).join("bin/anvil");
        put(&real, b"\x7fELF");
        put(&modules.join("@foundry-rs/anvil/bin.mjs"), b"#!/usr/bin/env node\n");
        fs::create_dir_all(modules.join(".bin")).unwrap();
        symlink("../@foundry-rs/anvil/bin.mjs", modules.join(".bin/anvil")).unwrap();
        let deep = dir.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();

        let upward = FindOptions { start_dir: Some(deep), ..FindOptions::default() };
        assert_eq!(find(&upward).unwrap(), real);
        let wrapper =
            FindOptions { path_var: Some(modules.join(".bin").into()), ..FindOptions::default() };
        assert_eq!(find(&wrapper).unwrap().canonicalize().unwrap(), real.canonicalize().unwrap());

        put(&dir.path().join("bin/anvil"), b"\x7fELF");
        let both = FindOptions { path_var: Some(dir.path().join("bin").into()), ..upward };
        assert_eq!(find(&both).unwrap(), dir.path().join("bin/anvil"));
    }

    #[test]
    fn without_any_the_places_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let options = FindOptions {
            path_var: Some(dir.path().into()),
            start_dir: Some(dir.path().into()),
            explicit: None,
        };
        match find(&options) {
            Err(AnvilError::NotFound { looked }) => {
                assert_eq!(looked[0], dir.path().join("anvil"));
                let modules = dir.path().join("tools/node_modules/@foundry-rs");
                assert_eq!(looked[1], modules.join(platform_package()).join("bin/anvil"));
            }
            other => panic!("{other:?}"),
        }
    }
}

use super::super::{Fields, Ignored, Refused, Unsafe};
use super::*;
use crate::config;
use std::io::Write as _;

config! {
    /// Settings of a test.
    struct Sample {
        /// A port.
        port: u16 = "listenPort", 9876;
        /// A number.
        count: u32 = "threadCount", 4, in 1..=16;
        /// A name.
        name: String = "brokerName", "n".into();
        /// What follows from the port.
        high: u32 = "highPort", 0;
    }
}

impl Config for Sample {
    const IGNORED: &'static [Ignored] = &[Ignored(
        "there are no such things here",
        "heapSize collector",
    )];
    const REFUSED: &'static [Refused] = &[Refused(
        "aclEnable",
        Unsafe::True,
        "nothing would be checked",
    )];

    fn complete(&mut self, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
        if self.port == 1 {
            return Err(ConfigError::Conflict("listenPort=1 does not do".into()));
        }
        if self.count == 1 {
            warnings.push("threadCount=1 is slow".into());
        }
        self.high = u32::from(self.port) + 1;
        Ok(())
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn from(sources: &Sources) -> Result<Loaded<Sample>, String> {
    load::<Sample>(sources).map_err(|errors| errors.to_string())
}

fn from_text(text: &str) -> Result<Loaded<Sample>, String> {
    let file = file(text);
    let loaded = from(&Sources {
        file: Some(file.path().into()),
        ..Sources::default()
    });
    loaded.map_err(|errors| errors.replace(&file.path().display().to_string(), "FILE"))
}

#[test]
fn without_sources_everything_is_at_its_default() {
    let loaded = from(&Sources::default()).unwrap();
    assert_eq!((loaded.config.port, loaded.config.high), (9876, 9877));
    assert_eq!(loaded.warnings(), Vec::<String>::new());
}

#[test]
fn set_beats_flag_beats_file_beats_environment_beats_default() {
    let file = file("listenPort=3\n");
    let environment = vec![("ARUGULA_LISTEN_PORT".to_owned(), "2".to_owned())];
    let flag = Flag {
        name: "--port",
        key: "listenPort",
        value: "4".into(),
    };
    let mut sources = Sources {
        sets: vec!["listenPort=5".into()],
        flags: vec![flag],
        file: Some(file.path().into()),
        environment,
    };
    let port = |sources: &Sources| from(sources).unwrap().config.port;
    assert_eq!(port(&sources), 5);
    sources.sets.clear();
    assert_eq!(port(&sources), 4);
    sources.flags.clear();
    assert_eq!(port(&sources), 3);
    sources.file = None;
    assert_eq!(port(&sources), 2);
    sources.environment.clear();
    assert_eq!(port(&sources), 9876);
}

#[test]
fn environment_names_are_matched_without_case_and_underscores() {
    for name in [
        "ARUGULA_listenPort",
        "ARUGULA_LISTENPORT",
        "ARUGULA_LISTEN_PORT",
    ] {
        let sources = Sources {
            environment: vec![(name.into(), "7".into())],
            ..Sources::default()
        };
        assert_eq!(from(&sources).unwrap().config.port, 7, "{name}");
    }
}

#[test]
fn environment_variables_of_others_are_reported_and_do_not_stop_the_start() {
    let environment = ["ARUGULA_BIN", "HOME"].map(|name| (name.to_owned(), "x".to_owned()));
    let loaded = from(&Sources {
        environment: environment.into(),
        ..Sources::default()
    });
    assert_eq!(
        loaded.unwrap().warnings(),
        ["environment variable ARUGULA_BIN names no known key"]
    );
}

#[test]
fn an_unknown_key_names_file_line_and_nearest_key() {
    assert_eq!(
        from_text("# c\n\nlistenProt=1\n").unwrap_err(),
        "FILE:3: unknown key listenProt, did you mean listenPort?"
    );
    assert_eq!(from_text("zzz=1").unwrap_err(), "FILE:1: unknown key zzz");
}

#[test]
fn a_key_that_is_ignored_or_refused_can_be_the_nearest_one() {
    assert!(
        from_text("heapsize=1")
            .unwrap_err()
            .ends_with("did you mean heapSize?")
    );
    assert!(
        from_text("aclEnabled=1")
            .unwrap_err()
            .ends_with("did you mean aclEnable?")
    );
}

#[test]
fn a_wrong_value_names_the_allowed_range() {
    assert_eq!(
        from_text("threadCount = 17").unwrap_err(),
        "FILE:1: threadCount=17 must be a whole number from 1 to 16"
    );
    let sources = Sources {
        sets: vec!["listenPort=x".into()],
        ..Sources::default()
    };
    assert_eq!(
        from(&sources).unwrap_err(),
        "--set: listenPort=x must be a whole number from 0 to 65535"
    );
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let errors = from_text("threadCount=0\nabc=1\naclEnable=true\n").unwrap_err();
    assert_eq!(
        errors.lines().collect::<Vec<_>>(),
        [
            "FILE:1: threadCount=0 must be a whole number from 1 to 16",
            "FILE:2: unknown key abc",
            "FILE:3: aclEnable=true is refused: nothing would be checked"
        ]
    );
}

#[test]
fn ignored_keys_are_accepted_and_listed_in_one_line() {
    let loaded = from_text("heapSize=8g\ncollector=x\nlistenPort=5").unwrap();
    assert_eq!(loaded.config.port, 5);
    assert_eq!(
        loaded.warnings(),
        [
            "these keys are set and have no effect, docs/compatibility.md says why: heapSize, collector"
        ]
    );
}

#[test]
fn a_refused_key_with_a_harmless_value_passes_in_silence() {
    let loaded = from_text("aclEnable=false").unwrap();
    assert_eq!(loaded.warnings(), Vec::<String>::new());
}

#[test]
fn a_stronger_source_puts_a_wrong_value_right() {
    let file = file("aclEnable=true\nthreadCount=99\nbrokerName=a\nbrokerName=b");
    let sources = Sources {
        sets: vec!["aclEnable=false".into(), "threadCount=3".into()],
        file: Some(file.path().into()),
        ..Sources::default()
    };
    let config = from(&sources).unwrap().config;
    assert_eq!((config.count, config.name.as_str()), (3, "b"));
}

#[test]
fn rules_between_keys_are_checked_at_the_end() {
    assert_eq!(
        from_text("listenPort=1").unwrap_err(),
        "listenPort=1 does not do"
    );
    assert_eq!(
        from_text("threadCount=1").unwrap().warnings(),
        ["threadCount=1 is slow"]
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let missing = Sources {
        file: Some("/no/such/file".into()),
        ..Sources::default()
    };
    assert!(
        from(&missing)
            .unwrap_err()
            .starts_with("cannot read the configuration file /no/such/file: ")
    );
    assert_eq!(
        from_text("a=1\nb=\\u1").unwrap_err(),
        "FILE: line 2: \\u is not followed by four hexadecimal digits"
    );
}

#[test]
fn set_needs_an_equals_sign_and_keeps_later_ones() {
    let sources = |set: &str| Sources {
        sets: vec![set.into()],
        ..Sources::default()
    };
    assert_eq!(
        from(&sources("listenPort")).unwrap_err(),
        "--set listenPort: must be key=value"
    );
    assert_eq!(
        from(&sources("brokerName=a=b"))
            .unwrap()
            .config
            .get("brokerName")
            .as_deref(),
        Some("a=b")
    );
}

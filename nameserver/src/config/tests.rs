use super::*;
use common::config::{Live, Sources, document, known_keys, load, properties, to_text, with_tables};
use std::collections::HashSet;
use std::fs;

fn from(sets: &[&str]) -> Result<NameserverConfig, String> {
    let sources = Sources {
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        ..Sources::default()
    };
    match load::<NameserverConfig>(&sources) {
        Ok(loaded) => Ok(loaded.config),
        Err(errors) => Err(errors.to_string()),
    }
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = from(&[]).unwrap();
    assert_eq!((config.listen_port, config.http_listen_port), (9876, 9877));
    assert!(config.kv_config_path.ends_with("namesrv/kvConfig.json"));
    assert!(config.kv_config_path.is_absolute());
    let text = to_text(&config);
    for line in [
        "bindAddress=0.0.0.0",
        "orderMessageEnable=false",
        "supportActingMaster=false",
        "enableTopicList=true",
        "enableAllTopicList=true",
        "needWaitForService=false",
        "waitSecondsForService=45",
        "notifyMinBrokerIdChanged=false",
        "deleteTopicWithBrokerRegistration=false",
        "scanNotActiveBrokerInterval=5000",
        "returnOrderTopicConfigToBroker=true",
        "configBlackList=configBlackList;configStorePath;kvConfigPath",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

#[test]
fn what_would_be_unsafe_to_ignore_is_refused() {
    for set in [
        "enableControllerInNamesrv=true",
        "authenticationEnabled=true",
        "authorizationEnabled=TRUE",
        "tls.server.mode=enforcing",
    ] {
        let error = from(&[set]).unwrap_err();
        assert!(
            error.starts_with(&format!("--set: {set} is refused: ")),
            "{error}"
        );
    }
    from(&[
        "enableControllerInNamesrv=false",
        "tls.server.mode=permissive",
    ])
    .unwrap();
}

#[test]
fn ports_must_differ_unless_they_are_chosen_freely() {
    assert_eq!(
        from(&["listenPort=1", "httpListenPort=1"]).unwrap_err(),
        "listenPort and httpListenPort are both 1: they must differ"
    );
    from(&["listenPort=0", "httpListenPort=0"]).unwrap();
}

#[test]
fn a_running_server_takes_changes() {
    let live = Live::new(load::<NameserverConfig>(&Sources::default()).unwrap());
    let changes = "orderMessageEnable=true\nwaitSecondsForService=abc\nunheard=1\n";
    let changes = properties::parse(changes).unwrap();
    assert_eq!(live.update(&changes).0, ["orderMessageEnable"]);
    assert!(live.get().order_message_enable);
}

#[test]
fn the_documentation_lists_the_same_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/compatibility.md");
    let page = fs::read_to_string(path).unwrap();
    let fresh = with_tables(&page, "mqnamesrv", &document::<NameserverConfig>());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, &fresh).unwrap();
    } else {
        assert!(
            page == fresh,
            "docs/compatibility.md differs from the code: run this test with UPDATE_DOCS=1"
        );
    }
}

#[test]
fn no_key_is_listed_twice() {
    let mut seen = HashSet::new();
    for key in known_keys::<NameserverConfig>() {
        assert!(seen.insert(key), "{key}");
    }
}

/// The names of all settings of Apache RocketMQ 5.5.0 that its `-c` file can hold, one a line.
const REFERENCE_KEYS: &str = include_str!("keys-5.5.0.txt");

#[test]
fn every_key_of_the_reference_is_known() {
    let known: HashSet<&str> = known_keys::<NameserverConfig>().collect();
    let unknown: Vec<&str> = REFERENCE_KEYS
        .lines()
        .filter(|key| !known.contains(key))
        .collect();
    assert_eq!(unknown, Vec::<&str>::new());
}

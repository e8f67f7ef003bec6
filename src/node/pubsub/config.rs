//! The cluster as one node sees it: a file in YAML.
//!
//! ```yaml
//! nodes:
//!   - id: n1
//!     host: 127.0.0.1
//!     port: 7001            # clients; `api_port` is the same
//!     rpc_port: 8001        # between nodes; port + 1000 where it is not given
//!     timesync_port: 7201   # between nodes; port + 200 where it is not given
//! ```
//!
//! A node listens at its own addresses and reaches the others at theirs, and tells nobody where anybody is: so each node may be
//! given another table, with something between the nodes.

use saphyr::{LoadableYamlNode as _, Yaml};

/// From the port of clients to the one nodes speak Raft on.
pub const RPC_OFFSET: u16 = 1000;
/// From the port of clients to the one nodes compare clocks on.
pub const TIMESYNC_OFFSET: u16 = 200;

const KEYS: [&str; 6] = ["id", "host", "port", "api_port", "rpc_port", "timesync_port"];

/// A node as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub id: String,
    /// Its host.
    pub host: String,
    /// Where its clients connect.
    pub port: u16,
    /// Where the other nodes connect.
    pub rpc_port: u16,
    /// Where the other nodes ask for the time.
    pub timesync_port: u16,
}

/// The table in `text`, sorted by name.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(text: &str) -> Result<Vec<Member>, String> {
    let documents = Yaml::load_from_str(text).map_err(|error| format!("not YAML: {error}"))?;
    let [document] = documents.as_slice() else {
        return Err(format!("it has {} YAML documents, expected one", documents.len()));
    };
    let list = match document.as_mapping_get("nodes") {
        Some(nodes) => nodes.as_sequence(),
        None => document.as_sequence(),
    };
    let list = list.ok_or("expected `nodes:` and a list of nodes below")?;
    let mut members = Vec::new();
    for (at, node) in list.iter().enumerate() {
        let member = member(node).map_err(|error| format!("nodes[{at}]: {error}"))?;
        if members.iter().any(|other: &Member| other.id == member.id) {
            return Err(format!("nodes[{at}]: {} is there twice: its vote would count twice", member.id));
        }
        members.push(member);
    }
    if members.is_empty() {
        return Err("it has no nodes".into());
    }
    members.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(members)
}

fn member(node: &Yaml<'_>) -> Result<Member, String> {
    let map = node.as_mapping().ok_or("expected a map with id, host and port")?;
    for key in map.keys() {
        let key = key.as_str().ok_or("its keys have to be words")?;
        if !KEYS.contains(&key) {
            let near = KEYS.iter().max_by(|one, other| {
                strsim::jaro_winkler(one, key).total_cmp(&strsim::jaro_winkler(other, key))
            });
            return Err(format!("there is no key `{key}`; is `{}` meant?", near.unwrap_or(&"id")));
        }
    }
    let id = node.as_mapping_get("id").ok_or("it has no id")?;
    let id = match (id.as_str(), id.as_integer()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(number)) => number.to_string(),
        (None, None) => return Err("its id is no word".into()),
    };
    let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if id.is_empty() || id.len() > 64 || !id.chars().all(good) {
        return Err(format!("its id is {id:?}, expected 1 to 64 letters, digits, `-`, `_` or `.`"));
    }
    let host = match node.as_mapping_get("host") {
        None => "127.0.0.1",
        Some(host) => host.as_str().filter(|host| !host.is_empty()).ok_or("its host is no word")?,
    };
    let port = match (port(node, "port")?, port(node, "api_port")?) {
        (Some(_), Some(_)) => return Err("it has both `port` and `api_port`, which are the same".into()),
        (given, alias) => given.or(alias).ok_or("it has no port")?,
    };
    let beside = |key: &str, offset: u16| match self::port(node, key)? {
        Some(port) => Ok(port),
        None => port
            .checked_add(offset)
            .ok_or_else(|| format!("its {key} would be {port} + {offset}, which is above 65535; give one")),
    };
    let rpc_port = beside("rpc_port", RPC_OFFSET)?;
    let timesync_port = beside("timesync_port", TIMESYNC_OFFSET)?;
    Ok(Member { id, host: host.to_owned(), port, rpc_port, timesync_port })
}

fn port(node: &Yaml<'_>, key: &str) -> Result<Option<u16>, String> {
    let Some(value) = node.as_mapping_get(key) else { return Ok(None) };
    let port = value.as_integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    port.map(Some).ok_or_else(|| format!("its {key} is {value:?}, expected a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_offsets_unless_they_are_given() {
        let text = "# three\nnodes:\n- {id: n2, host: 127.1.2.3, port: 7002, rpc_port: 9000}\n\
                    - id: \"n1\"\n  api_port: 7001\n- id: 3\n  host: localhost\n  port: 7003\n  timesync_port: 1\n";
        let members = parse(text).unwrap();
        let rows: Vec<String> = members
            .iter()
            .map(|m| format!("{} {} {} {} {}", m.id, m.host, m.port, m.rpc_port, m.timesync_port))
            .collect();
        assert_eq!(
            rows,
            ["3 localhost 7003 8003 1", "n1 127.0.0.1 7001 8001 7201", "n2 127.1.2.3 7002 9000 7202",]
        );
        assert_eq!(parse("- id: n1\n  port: 1\n").unwrap().len(), 1, "the list alone will do");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("nodes: [", "not YAML"),
            ("", "it has 0 YAML documents, expected one"),
            ("nodes: 3", "expected `nodes:` and a list of nodes below"),
            ("nodes: []", "it has no nodes"),
            ("nodes: [n1]", "nodes[0]: expected a map with id, host and port"),
            ("nodes: [{id: n1, port: 1}, {id: n1, port: 2}]", "nodes[1]: n1 is there twice"),
            ("nodes: [{id: n1, prot: 1}]", "nodes[0]: there is no key `prot`; is `port` meant?"),
            ("nodes: [{id: n1}]", "nodes[0]: it has no port"),
            ("nodes: [{id: n1, port: 1, api_port: 1}]", "nodes[0]: it has both"),
            ("nodes: [{id: n 1, port: 1}]", "nodes[0]: its id is \"n 1\""),
            ("nodes: [{id: n1, port: 65000}]", "nodes[0]: its rpc_port would be 65000 + 1000"),
            ("nodes: [{id: n1, port: 70000}]", "nodes[0]: its port is"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
        }
    }
}

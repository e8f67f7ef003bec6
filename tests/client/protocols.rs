//! Protocol files: what they may say, and what is said of mistakes in them.

use std::path::Path;

use harness::client::Protocol;

const GOOD: &str = r#"
[read]
path  = "/get/{{ key }}"
value = "/value"

[write]
path = "/put/{{ key }}"
body = '{"value": {{ value }}}'
"#;

fn parse(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text, Path::new("my.toml"), "my").map_err(|error| error.to_string())
}

#[test]
fn the_built_in_one_is_complete() {
    let protocol = Protocol::load("lab2", Path::new(".")).unwrap();
    assert_eq!(protocol.name(), "lab2");
    assert_eq!(protocol.operations().collect::<Vec<_>>(), ["read", "write"]);
    assert!(protocol.has_snapshot());
    assert!(protocol.mutates("write") && !protocol.mutates("read") && !protocol.mutates("snapshot"));
}

#[test]
fn a_short_file_suffices() {
    let protocol = parse(GOOD).unwrap();
    assert_eq!((protocol.name(), protocol.has_snapshot(), protocol.has("ready")), ("my", false, true));
}

#[test]
fn files_are_found_from_the_workloads_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.toml"), GOOD).unwrap();
    assert_eq!(Protocol::load("mine.toml", folder.path()).unwrap().name(), "mine");
    assert_eq!(Protocol::load("./mine.toml", folder.path()).unwrap().name(), "mine");
    let missing = Protocol::load("other.toml", folder.path()).unwrap_err().to_string();
    assert!(missing.contains("other.toml: the protocol file cannot be read: "), "{missing}");
    assert_eq!(
        Protocol::load("lab", folder.path()).unwrap_err().to_string(),
        "there is no built-in protocol `lab`; did you mean `lab2`? (a file's path has a `/` or ends in `.toml`)"
    );
}

#[test]
fn what_the_readme_shows_is_true() {
    let readme = std::fs::read_to_string("workloads/protocols/README.md").unwrap();
    let examples: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        parse(example).unwrap();
    }
}

#[test]
fn mistakes_are_told_all_at_once() {
    let text = "valeu = 'text'\nkeep-alive = 3\n[read]\npath = '/{{ kye }}'\nvalue = '/v'\n[[read.answer]]\nstatus = 404\noutcome = 'mis'\n\
                [write]\npath = '/{{ key }}'\nbdy = '1'\nmehtod = 'PUT'\n";
    let error = parse(text).unwrap_err();
    let told: Vec<&str> = error.lines().map(|line| line.split(';').next().unwrap()).collect();
    assert_eq!(
        told,
        [
            "my.toml:1:1: a protocol file has no key `valeu`",
            "my.toml:2:14: expected true or false, found integer",
            "my.toml:4:8: there is no `kye` in a template",
            "my.toml:11:1: `[write]` has no key `bdy`",
            "my.toml:12:1: `[write]` has no key `mehtod`",
        ]
    );
}

#[test]
fn mistakes_are_told_with_their_place_and_the_nearest_word() {
    let cases = [
        ("[raed]\npath = '/'\n", "my.toml:1:2: a protocol file has no key `raed`; did you mean `read`?"),
        ("nmae = 'x'\n", "my.toml:1:1: a protocol file has no key `nmae`; did you mean `name`?"),
        ("name = 'x'\n", "my.toml:1:1: the file teaches neither `[read]` nor `[write]`"),
        ("value = 'numbre'\n", "my.toml:1:9: unknown word `numbre`; did you mean `number`?"),
        (
            "transport = 'carrier pigeon'\n",
            "my.toml:1:13: unknown word `carrier pigeon`; expected one of http, line, stdio",
        ),
        ("keep-alive = 'no'\n", "my.toml:1:14: expected true or false, found string"),
        ("read = 3\n", "my.toml:1:8: expected a table, found integer"),
        ("[read]\nvalue = '/value'\n", "my.toml:1:1: `[read]` needs `path`"),
        ("[read]\npath = '/{{ key }}'\n", "my.toml:1:1: `[read]` needs `value`: where in the answer it is"),
        (
            "[read]\npath = 'get?key={{ key }}'\n",
            "my.toml:2:8: a path starts with `/`, for instance \"/get?key={{ key }}\"",
        ),
        (
            "[read]\nvalue = '/v'\npath = '/{{ kye }}'\n",
            "my.toml:3:8: there is no `kye` in a template; did you mean `key`?",
        ),
        (
            "[read]\nvalue = '/v'\npath = '/get'\n",
            "my.toml:1:1: nothing in `[read]` says `{{ key }}`: every key would be the same",
        ),
        (
            "[write]\npath = '/{{ key }}'\n",
            "my.toml:1:1: nothing in `[write]` says `{{ value }}`: nothing would be written",
        ),
        (
            "[read]\npath = '/{{ key }}'\nvalue = 'value'\n",
            "my.toml:3:9: `value` is no place in an answer: expected a JSON pointer (\"/value\"), or a regular expression (\"re:…\")",
        ),
        (
            "[read]\npath = '/{{ key }}'\nvalue = 're:('\n",
            "my.toml:3:9: not a regular expression: unclosed group",
        ),
        (
            "[read]\nmethod = 'Get'\n",
            "my.toml:2:10: `Get` is no HTTP method: expected GET, POST, PUT, DELETE …",
        ),
        (
            "[read]\npath = '/{{ key }}'\nheaders = { Host = 'x' }\n",
            "my.toml:3:13: `Host` is set by the client itself",
        ),
        (
            "[read]\npath = '/{{ key }}'\nvalue = '/v'\n[[read.answer]]\nstatus = 700\noutcome = 'ok'\n",
            "my.toml:5:10: expected a status such as 404, a class such as \"2xx\", or a list of them",
        ),
        (
            "[read]\npath = '/{{ key }}'\nvalue = '/v'\n[[read.answer]]\nstatus = 404\noutcome = 'mis'\n",
            "my.toml:6:11: unknown word `mis`; did you mean `miss`?",
        ),
        (
            "[read]\npath = '/{{ key }}'\nvalue = '/v'\n[[read.answer]]\nstatus = 404\n",
            "my.toml:4:1: an `answer` rule needs `outcome`",
        ),
        (
            "[read]\npath = '/{{ key }}'\nvalue = '/v'\n[[read.answer]]\nequals = 1\noutcome = 'miss'\n",
            "my.toml:5:10: `equals` of what? The rule needs `at`, a place in the answer",
        ),
        (
            "[read]\npath = '/{{ key }}'\nvalue = '/v'\n[[read.answer]]\nat = '/x'\nequals = 1\nnull = true\noutcome = 'miss'\n",
            "my.toml:7:8: `null` is a second condition; a rule has one of equals, matches, exists, null",
        ),
        (
            "[write]\npath = '/{{ key }}/{{ value }}'\n[[write.answer]]\noutcome = 'miss'\n",
            "my.toml:4:11: only a read can miss",
        ),
        (
            "[delete]\npath = '/x'\n",
            "my.toml:1:1: nothing in `[delete]` says `{{ key }}`: every key would be the same",
        ),
        (
            "[delete]\npath = '/{{ key }}'\nvalue = '/v'\n",
            "my.toml:3:1: `[delete]` has no key `value`; expected one of method, path, headers, body, answer, ts, origin, \
             error, achieved, acks, role, term, leader, token, hint",
        ),
        (
            "[status]\npath = '/'\nterm = '/t'\n",
            "my.toml:1:1: `[status]` needs `role`: where in the answer it is",
        ),
        (
            "[status]\npath = '/'\nrole = 'role'\n",
            "my.toml:3:8: `role` is no place in an answer: expected a JSON pointer (\"/role\"), or a regular expression (\"re:…\")",
        ),
        (
            "[status]\npath = '/'\nrole = '/r'\n",
            "my.toml:1:1: the file teaches neither `[read]` nor `[write]`",
        ),
        ("leader-word = 3\n", "my.toml:1:15: expected a string, found integer"),
        (
            "[ready]\npath = '/'\ntoken = '/t'\n",
            "my.toml:3:1: `[ready]` has no key `token`; expected one of method, path, headers, body",
        ),
        (
            "[strong-raed]\npath = '/{{ key }}'\n",
            "my.toml:1:2: a protocol file has no key `strong-raed`; did you mean `strong-read`?",
        ),
        (
            "[read]\nvalue = '/v'\npath = '/{{ key }}?t={{ tokn }}'\n",
            "my.toml:3:8: there is no `tokn` in a template; did you mean `token`?",
        ),
        ("[read\n", "my.toml:1:6: unclosed table, expected `]`"),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).unwrap_err(), expected, "in\n{text}");
    }
}

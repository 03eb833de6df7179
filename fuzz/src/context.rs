//! The JSON text of a context.

use judged::context::Context;

use super::support::json;

pub fn check(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let read = Context::parse(text);
    assert_eq!(read.is_ok(), json::is_context(text), "{text:?}: {read:?}");
    let Ok(context) = read else { return };
    let compact = context.to_compact();
    let again = Context::parse(&compact).expect("what was written is a context");
    assert_eq!(again, context, "{text:?}");
    assert_eq!(again.to_compact(), compact);
    assert!(!compact.contains('\n'));
    let _ = context.to_indented();
    let _ = context.intended_channel();
    for field in context.fields() {
        let path: String = field.path().collect();
        let found = context.get(&path);
        assert!(found.is_some() || field.name.contains('.'), "{text:?}");
    }
}

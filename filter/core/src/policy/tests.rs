use super::*;

#[test]
fn names_are_safe_in_structured_fields() {
    assert_eq!(quoted("per key"), "\"per key\"");
    assert_eq!(quoted("a\"b\\c\r\nü"), "\"a\\\"b\\\\c???\"");
}

//! What `#[service]` accepts compiles without a warning; what it refuses says so at the user's own token.

#[test]
fn what_a_service_can_be() {
    trybuild::TestCases::new().pass("ui/accepted/*.rs");
}

#[test]
fn what_a_service_cannot_be() {
    trybuild::TestCases::new().compile_fail("ui/rejected/*.rs");
}

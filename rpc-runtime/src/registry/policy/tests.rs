use super::*;
use rpc_core::Code;

fn check(builder: RegistryBuilder, address: &str, source: &str) -> Result<Instance, Status> {
    let instance = Instance::new(address, Attributes::new());
    let source = Some(source.parse().unwrap());
    builder.policy.check_entry("greeter", instance, source)
}

/// T18: addresses that are refused whatever is allowed.
#[test]
fn t18_dangerous_and_malformed_addresses_are_refused() {
    for address in [
        "tcp://169.254.169.254:80",
        "tcp://[::ffff:169.254.169.254]:80",
        "tcp://[fe80::1]:80",
        "tcp://[fd00:ec2::254]:80",
        "tcp://100.100.100.200:80",
        "tcp://0.0.0.0:80",
        "tcp://[::]:80",
        "tcp://224.0.0.1:80",
        "tcp://[ff02::1]:80",
        "tcp://255.255.255.255:80",
        "tcp://10.0.0.1:0",
        "tcp://10.0.0.1:80,10.0.0.2:80",
        "tcp://a,b:80",
        "tcp://a b:80",
        "tcp://a\r\nb:80",
        "tcp://10.0.0.1:80\r\n",
        "tcp://user@10.0.0.1:80",
        "tcp://2130706433:x",
        "tcp://a/b:80",
        "10.0.0.1:80",
        "http://10.0.0.1:80",
        "",
    ] {
        let all = RegistryBuilder::default().allow_local().allow_names();
        let all = all.allow_any_source();
        let refused = check(all, address, "10.0.0.1").unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{address}");
        assert!(!refused.message().contains(['\r', '\n']), "{refused}");
    }
}

#[test]
fn t18_local_addresses_and_names_have_to_be_allowed() {
    for address in [
        "tcp://127.0.0.1:80",
        "tcp://[::1]:80",
        "tcp://[::ffff:127.0.0.1]:80",
        "unix:///run/greeter",
        "mem://greeter",
    ] {
        let refused = check(RegistryBuilder::default(), address, "127.0.0.1");
        assert_eq!(
            refused.unwrap_err().code(),
            Code::InvalidArgument,
            "{address}"
        );
        let local = RegistryBuilder::default().allow_local();
        assert_eq!(check(local, address, "127.0.0.1").unwrap().address, address);
    }
    let named = "tcp://greeter-1.example:80";
    assert!(check(RegistryBuilder::default(), named, "10.0.0.1").is_err());
    check(RegistryBuilder::default().allow_names(), named, "10.0.0.1").unwrap();
}

#[test]
fn t18_an_address_is_where_it_is_entered_from() {
    let default = RegistryBuilder::default;
    check(default(), "tcp://10.0.0.1:80", "10.0.0.1").unwrap();
    check(default(), "tcp://10.0.0.1:80", "::ffff:10.0.0.1").unwrap();
    let refused = check(default(), "tcp://10.0.0.1:80", "10.0.0.2").unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    check(
        default().allow_any_source(),
        "tcp://10.0.0.1:80",
        "10.0.0.2",
    )
    .unwrap();
    // Who is in the same process, or comes through a Unix socket, has no address to compare.
    let instance = Instance::new("tcp://10.0.0.1:80", Attributes::new());
    let checked = default().policy.check_entry("greeter", instance, None);
    checked.unwrap();
}

#[test]
fn t18_entries_are_short_and_can_be_printed() {
    let policy = RegistryBuilder::default().policy;
    let check = |name: &str, attributes| {
        let instance = Instance::new("tcp://10.0.0.1:80", attributes);
        policy.check_entry(name, instance, None)
    };
    let new = Attributes::new;
    check("greeter", new().with_version("a".repeat(400))).unwrap();
    for (name, attributes) in [
        ("greeter", new().with_version("a".repeat(500))),
        ("greeter", new().with_tag("k", "v".repeat(500))),
        ("greeter", new().with_zone("a\nb")),
        ("greeter", new().with_tag("\x1b[31m", "v")),
        ("", new()),
        ("a//b", new()),
        ("a b", new()),
    ] {
        let refused = check(name, attributes).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let tags = (0..33).fold(new(), |all, n| all.with_tag(format!("{n}"), ""));
    assert!(
        check("greeter", tags)
            .unwrap_err()
            .message()
            .contains("32 tags")
    );
}

#[test]
fn t18_times_are_within_limits() {
    let seconds = Duration::from_secs;
    let policy = RegistryBuilder::default().policy;
    assert_eq!(policy.check_ttl(seconds(5)).unwrap(), Some(seconds(5)));
    assert_eq!(policy.check_ttl(seconds(60)).unwrap(), Some(seconds(60)));
    for ttl in [seconds(0), seconds(4), seconds(61), Duration::MAX] {
        let refused = policy.check_ttl(ttl).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let permanent = RegistryBuilder::default().allow_permanent().policy;
    assert_eq!(permanent.check_ttl(seconds(0)).unwrap(), None);
}

#[test]
fn t18_only_a_known_token_writes_and_no_token_is_shown() {
    let nobody = RegistryBuilder::default().policy;
    let known = RegistryBuilder::default().writer("ann", "S3CR3T-1");
    let known = known.writer("ann", "S3CR3T-2").writer("bob", "S3CR3T-3");
    for (policy, value, expected) in [
        (&nobody, None, None),
        (&nobody, Some("Bearer "), None),
        (&known.policy, None, None),
        (&known.policy, Some("S3CR3T-1"), None),
        (&known.policy, Some("Bearer S3CR3T-"), None),
        (&known.policy, Some("Bearer S3CR3T-11"), None),
        (&known.policy, Some("Bearer S3CR3T-2"), Some("ann")),
        (&known.policy, Some("Bearer S3CR3T-3"), Some("bob")),
    ] {
        let writer = policy.writer(value);
        match expected {
            Some(identity) => assert_eq!(&*writer.unwrap(), identity),
            None => assert_eq!(writer.unwrap_err().code(), Code::Unauthenticated),
        }
    }
    assert!(!format!("{known:?}").contains("S3CR3T"), "{known:?}");
    let open = known.without_authentication().policy;
    open.writer(None).unwrap();
}

//! The resource that spans and metrics belong to: this process, as deployments describe it.

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;

/// Returns the resource that OpenTelemetry's environment variables describe. The service name in the
/// configuration file takes precedence over theirs.
pub(super) fn resource(service_name: Option<&str>) -> Resource {
    let found = Resource::builder().build();
    let told = found.get(&"service.name".into());
    let told = told.filter(|name| !name.as_str().starts_with("unknown_service"));
    let parent = service_name.map(|name| name.to_owned().into());
    let name = parent.or(told).unwrap_or_else(|| "weir".into());
    Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_service_name(name)
        .build()
}

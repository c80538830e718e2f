//! The tools that check Azure's parts.

use std::path::PathBuf;

use anyhow::Result;

use super::{npm, pip};

/// A Python with Microsoft's own client of Azure's alerts, whose types are those of rule groups.
pub fn azure_alerts() -> Result<PathBuf> {
    Ok(pip::packages("azure-alerts", &["azure-mgmt-alertsmanagement==2.0.0b2"])?.join("bin/python"))
}

/// The folder of Node's packages with Microsoft's own parser of Kusto's language.
pub fn kusto() -> Result<PathBuf> {
    npm::packages("kusto", &["@kusto/language-service-next@12.4.1"])
}

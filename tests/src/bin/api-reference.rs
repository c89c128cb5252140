//! Writes the list of endpoints in `docs/api.md` from the OpenAPI document.

use std::error::Error;
use std::path::Path;

use sentrazone_tests::reference::renewed;

fn main() -> Result<(), Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let document = serde_json::from_str(sentrazone_plane::openapi())?;
    let page = renewed(&std::fs::read_to_string(&path)?, &document).ok_or("docs/api.md has no generated part")?;
    Ok(std::fs::write(&path, page)?)
}

//! MovieLens (Harper and Konstan, TiiS 2015): ratings of films, in the layouts 100K, 1M and latest (also 25M).

use super::{Dataset, DatasetOptions, Recipe, find_file, not_there, schema};
use crate::error::{Error, Result};
use crate::import::SideTable;
use crate::read::{Delimited, Format};
use std::path::Path;

pub(super) const DATASET: Dataset = Dataset {
    name: "movielens",
    about: "MovieLens 100K (u.data), 1M (ratings.dat) or latest and 25M (ratings.csv); attributes are joined if present",
    recipe,
};

/// A layout of the files.
struct Layout {
    ratings: Format,
    /// Columns of user, item and time.
    columns: [&'static str; 3],
    sides: Vec<SideTable>,
}

fn recipe(dir: &Path, options: &DatasetOptions) -> Result<Recipe> {
    type Open = fn(&Path) -> Result<Layout>;
    let layouts: [(&str, Open); 3] =
        [("u.data", layout_100k), ("ratings.dat", layout_1m), ("ratings.csv", layout_latest)];
    let found = layouts.iter().find_map(|(name, open)| Some((find_file(dir, name)?, open)));
    let (ratings, open) = found.ok_or_else(|| not_there(dir, "u.data, ratings.dat or ratings.csv"))?;
    let layout = open(dir)?;
    let text = schema_text(&layout, options.positive_at_least);
    Ok(Recipe { schema: schema(&text), sources: vec![ratings], format: layout.ratings, sides: layout.sides })
}

/// Whole seconds: many ratings of a user share one, and keep the order of the file.
fn schema_text(layout: &Layout, at_least: f64) -> String {
    let [user, item, time] = layout.columns;
    let has = |name: &str| layout.sides.iter().any(|side| side.names.iter().any(|own| own == name));
    let mut text = format!(
        r#"
        name = "movielens"
        [[field]]
        name = "user"
        kind = "id"
        role = "user"
        key = true
        id = "int"
        column = "{user}"
        [[field]]
        name = "item"
        kind = "id"
        role = "item"
        id = "int"
        column = "{item}"
        [[field]]
        name = "when"
        kind = "timestamp"
        unit = "s"
        column = "{time}"
        [[field]]
        name = "liked"
        kind = "label"
        column = "rating"
        at_least = {at_least:?}
        "#
    );
    for name in ["gender", "age", "occupation"].into_iter().filter(|name| has(name)) {
        text.push_str(&format!("[[field]]\nname = \"{name}\"\nkind = \"id\"\nrole = \"user\"\n"));
    }
    if has("genres") {
        text.push_str("[[field]]\nname = \"genres\"\nkind = \"ids\"\nrole = \"item\"\n");
    }
    text
}

fn layout_100k(dir: &Path) -> Result<Layout> {
    let mut sides = Vec::new();
    if let Some(file) = find_file(dir, "u.user") {
        let format = Format::Delimited(Delimited::plain("|", &["id", "age", "gender", "occupation", "zip"]));
        let columns = [("gender", "gender"), ("age", "age"), ("occupation", "occupation")];
        sides.push(SideTable::read(&file, &format, "id", "user", &columns)?);
    }
    if let Some(file) = find_file(dir, "u.item") {
        sides.push(genres_of_flags(&file)?);
    }
    let ratings = Format::Delimited(Delimited::plain("\t", &["user", "item", "rating", "time"]));
    Ok(Layout { ratings, columns: ["user", "item", "time"], sides })
}

/// Genres in the order of the flags of `u.item`.
const GENRES: [&str; 19] = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

/// `u.item` (in Latin-1): id, title, two dates, link, then one flag per genre.
fn genres_of_flags(file: &Path) -> Result<SideTable> {
    let bytes = std::fs::read(file).map_err(Error::io(file))?;
    let row = |line: &[u8]| {
        let mut cells = line.split(|&byte| byte == b'|');
        let item = cells.next()?.trim_ascii().to_vec();
        let set = GENRES.iter().zip(cells.skip(4)).filter(|(_, flag)| flag.trim_ascii() == b"1");
        let names: Vec<&str> = set.map(|(name, _)| *name).collect();
        Some((item, vec![names.join("|").into_bytes()]))
    };
    let rows = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).filter_map(row);
    Ok(SideTable::new("item", &["genres"], rows))
}

fn layout_1m(dir: &Path) -> Result<Layout> {
    let plain = |columns: &[&str]| Format::Delimited(Delimited::plain("::", columns));
    let mut sides = Vec::new();
    if let Some(file) = find_file(dir, "users.dat") {
        let columns = [("gender", "gender"), ("age", "age"), ("occupation", "occupation")];
        let format = plain(&["id", "gender", "age", "occupation", "zip"]);
        sides.push(SideTable::read(&file, &format, "id", "user", &columns)?);
    }
    if let Some(file) = find_file(dir, "movies.dat") {
        let format = plain(&["id", "title", "genres"]);
        sides.push(SideTable::read(&file, &format, "id", "item", &[("genres", "genres")])?);
    }
    let ratings = plain(&["user", "item", "rating", "time"]);
    Ok(Layout { ratings, columns: ["user", "item", "time"], sides })
}

fn layout_latest(dir: &Path) -> Result<Layout> {
    let csv = Format::Delimited(Delimited::csv());
    let mut sides = Vec::new();
    if let Some(file) = find_file(dir, "movies.csv") {
        sides.push(SideTable::read(&file, &csv, "movieId", "movieId", &[("genres", "genres")])?);
    }
    Ok(Layout { ratings: csv, columns: ["userId", "movieId", "timestamp"], sides })
}

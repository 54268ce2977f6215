use super::*;

#[test]
fn bundled_models_are_found_by_name_id_and_its_beginning() {
    let catalog = Catalog::new(None);
    for model in bundled() {
        let id = model.manifest.id().to_string();
        for query in [model.manifest.name(), &id, &id[..10], &id[..10].to_ascii_uppercase().replace("0X", "0x")] {
            assert_eq!(catalog.find(query).unwrap().manifest, model.manifest, "{query}");
        }
        let files = catalog.files(&catalog.get(model.manifest.id()).unwrap()).unwrap();
        for file in &model.manifest.fields().files {
            Manifest::check_content(file, &files[&file.name]).unwrap();
        }
    }
}

#[test]
fn what_is_not_there_is_said_with_a_hint() {
    let catalog = Catalog::new(None);
    for query in ["no-such-model", "0x", "0x0000000000000000000000000000000000000000000000000000000000000000"] {
        let error = catalog.find(query).unwrap_err().to_string();
        assert!(error.contains("foreblock model list"), "{error}");
    }
}

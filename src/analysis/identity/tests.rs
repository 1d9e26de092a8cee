use super::*;

/// Fields in the order plate, run, cycle, well, site, channels, z, t, magnification; `-` for none.
fn shown(identity: &PlateIdentity) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or("-".into());
    let number = |field: Option<u32>| field.map_or("-".into(), |number| number.to_string());
    [
        text(&identity.plate),
        text(&identity.run),
        text(&identity.cycle),
        text(&identity.well),
        text(&identity.site),
        if identity.channels.is_empty() { "-".into() } else { identity.channels.join("+") },
        number(identity.z),
        number(identity.t),
        identity.magnification.map_or("-".into(), |number| number.to_string()),
    ]
    .join("|")
}

fn builtin(path: &str) -> String {
    shown(&identify(path, &IdentityPatterns::default()))
}

fn user(patterns: &[&str], path: &str) -> String {
    let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.to_string()).collect();
    shown(&identify(path, &IdentityPatterns::compile(&patterns).unwrap()))
}

#[test]
fn names_of_common_programs() {
    for (path, expected) in [
        (
            "20250506_124144_018/WellB02_ChannelSD DAPI- EM,SD GFP - EM_Seq0000.nd2",
            "-|20250506_124144_018|-|B02|-|SD DAPI- EM+SD GFP - EM|-|-|-",
        ),
        ("sample__WellB02_PointB02_0000_ChannelFITC_Seq0000.nd2", "-|-|-|B02|0000|FITC|-|-|-"),
        ("x_Wells-B4_Points-006.nd2", "-|-|-|B04|006|-|-|-|-"),
        ("P1 10x Wells-A1_Points-001__Channel_DAPI,GFP.nd2", "-|-|-|A01|001|DAPI+GFP|-|-|10"),
        ("genotyping/cycle_1/Well1_Point1_0034.nd2", "-|-|1|Well1|0034|-|-|-|-"),
        ("Well1_Point1_0034_ChannelDAPI,Cy3_Seq0034.nd2", "-|-|-|Well1|0034|DAPI+Cy3|-|-|-"),
        ("WellC11_Point3.nd2", "-|-|-|C11|3|-|-|-|-"),
        ("Projection-Mix_E07_s1_w1.TIF", "Projection-Mix|-|-|E07|1|w1|-|-|-"),
        ("E07_s12.tif", "-|-|-|E07|12|-|-|-|-"),
        (
            "2023-02-21/1334/TimePoint_1/ZStep_3/Projection-Mix_E07_s1_w2B0A47337-5945-4B26-9F5F-4EBA468CDBA9.tif",
            "Projection-Mix|-|-|E07|1|w2|3|1|-",
        ),
        ("TimePoint_2/my_plate_E07_w1_thumb.tif", "my_plate|-|-|E07|-|w1|-|2|-"),
        ("r02c03f01p01-ch1sk1fk1fl1.tiff", "-|-|-|B03|01|ch1|1|1|-"),
        ("Images/r16c24f009p12-ch2.tiff", "-|-|-|P24|009|ch2|12|-|-"),
        ("Plate7_B02_T0003F001L01A01Z05C01.tif", "Plate7|-|-|B02|001|C01|5|3|-"),
        ("exp_1/exp_1_MMStack_Pos0.ome.tif", "-|-|-|-|Pos0|-|-|-|-"),
        ("exp_1_MMStack_Pos0_1.ome.tif", "-|-|-|-|Pos0|-|-|-|-"),
        ("exp_MMStack_1-Pos000_001.ome.tif", "-|-|-|-|1-Pos000_001|-|-|-|-"),
        ("exp_MMStack_A1-Site_4.ome.tif", "-|-|-|A01|4|-|-|-|-"),
        ("img_channel000_position001_time000000002_z003.tif", "-|-|-|-|001|channel000|3|2|-"),
        ("Pos3/img_000000005_DAPI_001.tif", "-|-|-|-|Pos3|DAPI|1|5|-"),
        ("screen/40x/WellB02/stack.nd2", "-|-|-|B02|-|-|-|-|40"),
        ("Cycle 12/a_20X.nd2", "-|-|12|-|-|-|-|-|20"),
    ] {
        assert_eq!(builtin(path), expected, "{path}");
    }
}

#[test]
fn other_names_give_nothing() {
    for path in [
        "",
        "image.tif",
        "IMG_1234.jpg",
        "img_000123.tif",
        "series_a/frame_t.tif",
        "A01.tif",
        "B02/image.tif",
        "movie_s1.tif",
        "DSC_E07_s.tif",
        "Wellness_1.tif",
        "StairWellB02x.tif",
        "unwell1_Point1.tif",
        "bicycle_1/a.tif",
        "recycle1/a.tif",
        "cycle_a/a.tif",
        "512x512/a.tif",
        "pbs_1x.tif",
        "10xGenomics.tif",
        "10x/20x.tif",
        "r02c03.tiff",
        "r99c03f01p01-ch1sk1fk1fl1x.tiff",
        "20250506_124144_018.nd2",
        "20250506_1241/a.nd2",
        "TimePoint_a/x.tif",
        "MMStack_Pos0.tif",
        "Q07_s1_w1.tif",
        "img_channel000_position001.tif",
    ] {
        assert_eq!(builtin(path), "-|-|-|-|-|-|-|-|-", "{path}");
    }
}

#[test]
fn user_patterns_come_first_and_built_in_names_fill_in() {
    let path = "HeLa 3/WellB2_ChannelSD DAPI- EM,SD GFP - EM_Seq0000.nd2";
    assert_eq!(
        user(&["{plate}/Well{well}_Channel{channel}_Seq{*}.nd2"], path),
        "HeLa 3|-|-|B02|-|SD DAPI- EM+SD GFP - EM|-|-|-"
    );
    assert_eq!(user(&["{plate}/{*}.nd2"], path), "HeLa 3|-|-|B02|-|SD DAPI- EM+SD GFP - EM|-|-|-");
    assert_eq!(
        user(&["re:^(?<plate>[^/]+)/Well(?<well>[A-P]\\d+)_Channel(?<channel>\\S+)"], path),
        "HeLa 3|-|-|B02|-|SD|-|-|-"
    );
    assert_eq!(
        user(&["no/{plate}.tif", "{run}/{*}"], path),
        "-|HeLa 3|-|B02|-|SD DAPI- EM+SD GFP - EM|-|-|-"
    );
    let path = "a/P1/c3/b2_f7_t12_z4_10x_DAPI.tif";
    assert_eq!(
        user(&["{plate}/c{cycle}/{well}_f{site}_t{t}_z{z}_{mag}x_{channel}.tif"], path),
        "P1|-|3|B02|7|DAPI|4|12|10"
    );
    assert_eq!(user(&["{site}_{*}.tif"], "x/s1_a_b.TIF"), "-|-|-|-|s1|-|-|-|-");
    assert_eq!(user(&["{plate}_{{x}}.tif"], "p_{x}.tif"), "p|-|-|-|-|-|-|-|-");
    assert_eq!(user(&["{plate}.t(i+f"], "p.t(i+f"), "p|-|-|-|-|-|-|-|-");
}

#[test]
fn a_field_stays_within_one_name_and_a_pattern_within_its_folders() {
    assert_eq!(user(&["{plate}_1.tif"], "a/b_1.tif"), "b|-|-|-|-|-|-|-|-");
    assert_eq!(user(&["x/{plate}.tif"], "ax/b.tif"), "-|-|-|-|-|-|-|-|-");
    assert_eq!(user(&["{plate}.tif"], "b.tif.png"), "-|-|-|-|-|-|-|-|-");
    assert_eq!(user(&["t{t}.tif"], "t99999999999.tif"), "-|-|-|-|-|-|-|-|-");
}

#[test]
fn channels_are_named_by_their_index() {
    let identity = identify("WellB02_ChannelDAPI, Cy3,,GFP_Seq0000.nd2", &IdentityPatterns::default());
    assert_eq!(
        [0, 1, 2, 3, 4].map(|index| identity.channel(index)),
        [Some("DAPI"), Some("Cy3"), None, Some("GFP"), None]
    );
}

#[test]
fn a_bad_pattern_is_named_with_the_place() {
    for (pattern, position, expected) in [
        ("{plate", 1, "expected `}`"),
        ("a/{plat}.tif", 3, "found \"plat\""),
        ("é{well}_{well}", 9, "{well} stands twice"),
        ("{well}}.tif", 7, "expected `{`"),
        ("image.tif", 1, "expected a field in braces"),
        ("", 1, "expected a field in braces"),
        ("{*}.tif", 1, "expected a field in braces"),
        ("re:(?<well>[A-P)", 12, "unclosed character class"),
        ("re:é(?<well>a))", 15, "unopened group"),
        ("re:(?<wel>.)", 7, "found \"wel\""),
        ("re:.*", 4, "expected a group named"),
        ("re:(?<well>\\p{Nope})", 4, "Unicode property not found"),
        ("re:(?<well>(?:a{1000}){1000})", 4, "size limit"),
    ] {
        let error = IdentityPatterns::compile(&["{plate}.tif".to_owned(), pattern.to_owned()]).unwrap_err();
        assert_eq!((error.pattern.as_str(), error.position), (pattern, position), "{error}");
        assert!(error.message.contains(expected), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

proptest::proptest! {
    #[test]
    fn no_path_and_no_pattern_makes_it_fail(path in ".{0,60}", pattern in "[{}a-z*:/(]{0,20}") {
        let patterns = IdentityPatterns::compile(&[pattern]).unwrap_or_default();
        identify(&path, &patterns);
    }
}

use super::*;

const SIZES: Sizes = Sizes {
    layer: 30 << 20,
    output: 200 << 20,
    fixed: 500 << 20,
    layers: 28,
};

fn gpu(name: &str, free_mib: u64) -> Device {
    Device {
        name: name.to_owned(),
        description: "a GPU".to_owned(),
        kind: "gpu",
        memory_free_bytes: free_mib << 20,
        memory_total_bytes: 16 << 30,
    }
}

fn cpu() -> Device {
    Device {
        kind: "cpu",
        ..gpu("CPU", 64_000)
    }
}

fn wish(layers: Layers, device: Option<&str>) -> Wish {
    Wish {
        layers,
        device: device.map(str::to_owned),
    }
}

fn placed(wish: Wish, devices: &[Device]) -> Result<(String, u32), String> {
    place(&wish, &SIZES, devices).map(|placement| (placement.device, placement.layers))
}

#[test]
fn a_gpu_with_room_gets_every_layer_and_the_output() {
    let devices = [cpu(), gpu("CUDA0", 15_000)];
    let placed = placed(wish(Layers::Auto, None), &devices);
    assert_eq!(placed, Ok(("CUDA0".to_owned(), 29)));
}

#[test]
fn where_not_all_fits_the_rest_stays_on_the_cpu() {
    let layers = |free| {
        placed(wish(Layers::Auto, None), &[gpu("CUDA0", free)])
            .unwrap()
            .1
    };
    assert_eq!(layers(500 + 28 * 30 + 200), 29);
    assert_eq!(layers(500 + 28 * 30 + 199), 28);
    assert_eq!(layers(500 + 28 * 30 - 1), 27);
    assert_eq!(layers(530), 1);
}

#[test]
fn a_gpu_too_small_for_one_layer_gets_none() {
    let reason = placed(wish(Layers::Auto, None), &[gpu("CUDA0", 529)]).unwrap_err();
    assert_eq!(reason, "`CUDA0` has 529 MiB free, too few for one layer");
}

#[test]
fn of_several_gpus_the_one_with_the_most_free_memory_is_taken() {
    let devices = [gpu("CUDA0", 2_000), gpu("CUDA1", 9_000)];
    let placed = placed(wish(Layers::Auto, None), &devices);
    assert_eq!(placed, Ok(("CUDA1".to_owned(), 29)));
}

#[test]
fn a_named_gpu_is_taken_or_missed_by_name() {
    let devices = [gpu("CUDA0", 2_000), gpu("CUDA1", 9_000)];
    let named = |name| placed(wish(Layers::Auto, Some(name)), &devices);
    assert_eq!(named("CUDA0"), Ok(("CUDA0".to_owned(), 29)));
    assert_eq!(
        named("CUDA7").unwrap_err(),
        "there is no GPU `CUDA7`, but CUDA0, CUDA1"
    );
    let without = placed(wish(Layers::Auto, Some("CUDA7")), &[cpu()]);
    assert_eq!(
        without.unwrap_err(),
        "there is no GPU `CUDA7`, nor any other"
    );
}

#[test]
fn a_number_of_layers_is_meant_and_bounded_by_the_model() {
    let devices = [gpu("CUDA0", 15_000)];
    let layers = |count| {
        placed(wish(Layers::Count(count), None), &devices)
            .unwrap()
            .1
    };
    assert_eq!((layers(10), layers(29), layers(99)), (10, 29, 29));
}

#[test]
fn a_number_of_layers_that_does_not_fit_is_refused_with_the_sums() {
    let reason = placed(wish(Layers::Count(20), None), &[gpu("CUDA0", 1_000)]).unwrap_err();
    assert!(
        reason.starts_with("20 layers need 1100 MiB, and `CUDA0` has 1000 MiB free"),
        "{reason}"
    );
}

#[test]
fn without_a_gpu_the_reason_says_so() {
    let reason = placed(wish(Layers::Auto, None), &[cpu()]).unwrap_err();
    assert_eq!(reason, "the GPU modules found no device");
}

# judged for NVIDIA's GPUs, and for every x86-64 CPU beside them:
# docker build -f deploy/docker/cuda.Dockerfile --build-arg CUDA_ARCHITECTURES=75-real .
# As Dockerfile otherwise.

FROM rust:1.95.0-bookworm AS rust

FROM nvidia/cuda:12.8.1-devel-ubuntu24.04 AS build
# GPUs to compile for, as CMake names them, such as "75-real;86-real;90-real".
ARG CUDA_ARCHITECTURES=75-real
# The daemon never asks for flash attention.
ENV CMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES GGML_CUDA_FA=OFF \
    RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH \
    RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ libclang-dev make python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
WORKDIR /judged
COPY . .
# The driver comes with the GPU's machine.
RUN cargo build --release --locked --features cuda \
    && DESTDIR=/installed scripts/install /usr/local \
    && scripts/licenses.py >/installed/usr/local/share/doc/judged/THIRD-PARTY-LICENSES

FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/judged judged \
    && install -d -o judged -g judged -m 0700 /var/lib/judged \
    && install -d -o judged -g judged /models
COPY --from=build /installed/ /
ENV JUDGED_STATE_DIR=/var/lib/judged JUDGED_MODEL_DIR=/models
USER 10001:10001
VOLUME ["/var/lib/judged", "/models"]
EXPOSE 50551
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["judged", "health"]
ENTRYPOINT ["judged"]
CMD ["serve", "--supervise", "--abort-stuck", "300"]

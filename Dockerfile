# syntax=docker/dockerfile:1
# The image is the binary, the C library it loads and nothing else: no shell, no package manager, no root.
#
#   docker build -t banyan .                          from this tree
#   make image-local                                  from a ready binary, without a registry
#
# Mount flags and routes as directories, never single files: a mounted file keeps its old content after a rename.

ARG RUST=1
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
# The manifest names them; they are not built.
COPY benches ./benches
# What the program embeds.
COPY flags ./flags
COPY routes ./routes
COPY schemas ./schemas
COPY docs/deploy/rootfs ./docs/deploy/rootfs
RUN cargo build --release --locked --bin banyan \
 && docs/deploy/rootfs target/release/banyan /rootfs

# What both runtime stages have in common; it needs no registry.
FROM scratch AS base
# Flags and routes are read, state is written.
WORKDIR /etc/banyan
ENV BANYAN_FLAGS=/etc/banyan/flags \
    BANYAN_ROUTES=/etc/banyan/routes \
    BANYAN_STATE=/var/lib/banyan \
    BANYAN_LISTEN=0.0.0.0:8080 \
    BANYAN_ADMIN=127.0.0.1:9901
EXPOSE 8080
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s --retries=3 CMD ["/usr/bin/banyan", "health"]
ENTRYPOINT ["/usr/bin/banyan"]
CMD ["serve"]

# From a ready binary: the build context is a folder that holds rootfs/, as docs/deploy/rootfs lays it out.
FROM base AS runtime-local
COPY rootfs/ /
COPY --chown=65532:65532 rootfs/var/lib/banyan /var/lib/banyan
VOLUME ["/etc/banyan/flags", "/etc/banyan/routes", "/var/lib/banyan"]

FROM base AS runtime
COPY --from=build /rootfs/ /
COPY --from=build --chown=65532:65532 /rootfs/var/lib/banyan /var/lib/banyan
VOLUME ["/etc/banyan/flags", "/etc/banyan/routes", "/var/lib/banyan"]

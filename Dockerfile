# lap as a container, on the image that its sandboxes have by default: it brings git, which
# repositories need, and curl. "make image" builds it, with the binary made outside.
FROM buildpack-deps:bookworm-scm
RUN useradd --uid 1000 lap && install -d -o lap -g lap -m 700 /data
ARG TARGETARCH
COPY lap-linux-${TARGETARCH} /usr/local/bin/lap
ENV LAP_LISTEN=0.0.0.0:3000 LAP_DATA_DIR=/data LAP_ALLOWED_HOSTS=lap
USER lap
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=5s --timeout=3s --retries=10 \
  CMD ["curl", "-fsSo", "/dev/null", "http://127.0.0.1:3000/healthz"]
ENTRYPOINT ["lap"]
CMD ["serve"]

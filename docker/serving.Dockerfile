# Builds engines and serves them: NVIDIA's Triton with TensorRT-LLM, and Aeolus in its Python.
#
#   docker build --file docker/serving.Dockerfile --build-arg REGISTRY=... --tag aeolus .
#
# REGISTRY is a prefix that ends in a slash: where your NVIDIA images come from. DIGEST pins the
# base, as in DIGEST=@sha256:...; an engine runs only with the TensorRT-LLM that built it.
ARG REGISTRY=
ARG BASE=tritonserver:26.07-trtllm-python-py3
ARG DIGEST=

FROM ${REGISTRY}${BASE}${DIGEST} AS wheels
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv-tritonserver/bin/python -m pip wheel --no-deps --wheel-dir /wheels ./client .

FROM ${REGISTRY}${BASE}${DIGEST}
COPY constraints.txt docker/constraints.py docker/healthcheck.py /opt/aeolus/
# What NVIDIA has installed stays as it is; pip fails where Aeolus would need another version. The
# wheels are named by their files: PyPI has another project called aeolus.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    /opt/venv-tritonserver/bin/python /opt/aeolus/constraints.py /opt/aeolus/constraints.txt \
        > /opt/aeolus/installed.txt \
    && /opt/venv-tritonserver/bin/python -m pip install --constraint /opt/aeolus/installed.txt \
        "$(echo /wheels/aeolus_client-*.whl)[cli]" "$(echo /wheels/aeolus-*.whl)[models,chat]"
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp aeolus \
    && install --directory --owner=10001 --group=0 --mode=0775 /models \
    && install --directory --mode=1777 /run/aeolus
ENV PATH=/opt/venv-tritonserver/bin:$PATH \
    AEOLUS_RUN_DIRECTORY=/run/aeolus \
    HF_HOME=/models/.huggingface \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="aeolus" \
      org.opencontainers.image.description="LLM serving on Triton with TensorRT-LLM" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001
WORKDIR /tmp
EXPOSE 8000 8001 8002 8010
# Loading a 70B takes minutes; failures before the first success do not count for so long.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m \
    CMD ["/opt/venv-tritonserver/bin/python", "-I", "-S", "/opt/aeolus/healthcheck.py"]
ENTRYPOINT ["aeolus"]
CMD ["serve", "--host", "0.0.0.0"]

# Builds engines and serves them: NVIDIA's Triton with TensorRT-LLM, and Aeolus in its Python.
#
#   docker build --file docker/serving.Dockerfile --build-arg REGISTRY=... --tag aeolus .
#
# REGISTRY is a prefix that ends in a slash: where your NVIDIA images come from. DIGEST pins the
# base, as in DIGEST=@sha256:...; an engine runs only with the TensorRT-LLM that built it.
ARG REGISTRY=
ARG BASE=tritonserver:26.07-trtllm-python-py3
ARG DIGEST=

FROM ${REGISTRY}${BASE}${DIGEST} AS code
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv-tritonserver/bin/python -m pip wheel --no-deps --wheel-dir /wheels ./client .

FROM ${REGISTRY}${BASE}${DIGEST}
RUN useradd --uid 10001 --gid 0 --no-create-home --home-dir /tmp aeolus \
    && install --directory --owner=10001 --group=0 --mode=0775 /models \
    && install --directory --mode=1777 /run/aeolus
WORKDIR /opt/aeolus
COPY constraints.txt pyproject.toml docker/*.py ./
COPY client/pyproject.toml client/
# What Aeolus needs: a layer that a change of its code leaves alone. What NVIDIA has installed stays
# as it is; pip fails where Aeolus would need another version.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv-tritonserver/bin/python constraints.py constraints.txt > installed.txt \
    && /opt/venv-tritonserver/bin/python requirements.py 'client/pyproject.toml[cli]' \
        'pyproject.toml[server,models,build,chat,format]' > requirements.txt \
    && /opt/venv-tritonserver/bin/python -m pip install \
        --constraint installed.txt --requirement requirements.txt
RUN --mount=type=bind,from=code,source=/wheels,target=/wheels \
    /opt/venv-tritonserver/bin/python -m pip install --no-cache-dir --no-deps /wheels/*.whl
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

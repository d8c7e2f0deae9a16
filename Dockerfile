# emocaliber in a container, for CPUs (the default) or CUDA GPUs; /data is the folder that it works in.
#
#   docker build --target cpu --tag emocaliber:cpu .
#   docker build --target cuda --tag emocaliber:cuda .
#   docker run --rm --user "$(id -u)" --volume "$PWD:/data" emocaliber:cpu score answers.csv
#   docker run --rm --user "$(id -u)" --volume "$PWD:/data" --gpus all --shm-size 8g emocaliber:cuda predict photos
#
# No image was built where the tests run: they try its wheel and its names (tests/test_dockerfile.py), not Docker itself.
# For Linux PyPI has torch's CUDA build alone. An index with its CPU build makes the first image some gigabytes smaller:
#   docker build --target cpu --build-arg PIP_EXTRA_INDEX_URL=ADDRESS --tag emocaliber:cpu .

FROM python:3.11.13-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# The toolkit's compiler builds kernels for vLLM, triton and DeepSpeed. The host needs NVIDIA's driver 580 or later.
FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS cuda
RUN apt-get update && apt-get install --no-install-recommends -y python3-dev python3-venv && rm -rf /var/lib/apt/lists/*
ENV HOME=/tmp PYTHONUNBUFFERED=1 PATH=/opt/emocaliber/bin:$PATH
RUN --mount=type=bind,from=wheel,source=/,target=/built \
    python3 -m venv /opt/emocaliber && \
    pip install --no-cache-dir --constraint /built/source/constraints.txt \
    "emocaliber[vllm,quantization,deepspeed,ray,chat,heic,trackio] @ file://$(echo /built/wheels/*.whl)"
WORKDIR /data
USER 1000
ENTRYPOINT ["emocaliber"]
CMD ["--help"]

FROM python:3.11.13-slim-bookworm AS cpu
ARG PIP_EXTRA_INDEX_URL
ENV HOME=/tmp PYTHONUNBUFFERED=1
RUN --mount=type=bind,from=wheel,source=/,target=/built \
    pip install --no-cache-dir --constraint /built/source/constraints.txt \
    "emocaliber[train,chat,heic,trackio] @ file://$(echo /built/wheels/*.whl)"
WORKDIR /data
USER 1000
ENTRYPOINT ["emocaliber"]
CMD ["--help"]

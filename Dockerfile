# docker build -t biomedica-kedro . && docker run --rm -v "$PWD/data:/project/data" biomedica-kedro
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
WORKDIR /project
COPY . .
RUN make install
CMD ["make", "run"]

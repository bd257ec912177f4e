# The packages first: they change less often than the code.
FROM python:3.11-slim AS packages
COPY requirements/run.txt /requirements.txt
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /requirements.txt

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home --home-dir /data veo \
    && mkdir /data \
    && chown veo /data
COPY --from=packages /venv /venv
WORKDIR /app
COPY bot/ bot/
COPY cogs/ cogs/
COPY storage/ storage/
ENV PATH="/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    IMAGE_DATABASE_URL=sqlite:////data/veo.db \
    IMAGE_MEDIA_DIR=/data/media \
    IMAGE_WEB_HOST=0.0.0.0
# A number: Kubernetes' runAsNonRoot believes no name.
USER 10001
VOLUME /data
EXPOSE 8080
# The operator's listener, whose port is not published; http.client asks it without any proxy.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, pathlib, http.client as h; from bot.environment import read; v = read(['OPERATOR_HOST', 'OPERATOR_PORT'], os.environ, pathlib.Path('.env')).values; c = h.HTTPConnection(v.get('OPERATOR_HOST', '127.0.0.1'), int(v.get('OPERATOR_PORT', 8081)), timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "bot"]
CMD ["run"]

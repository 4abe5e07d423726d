// Runs the tests against the emulated devices. FIELDRIG_WHEEL, set for the job or the agent, says where the wheel of
// fieldrig is: a URL, or a path in this repository. Build it once: pip wheel --no-deps PATH/TO/fieldrig
pipeline {
    agent any
    options { timeout(time: 15, unit: 'MINUTES') }
    stages {
        stage('emulated') {
            steps {
                sh 'python3 -m venv .venv'
                sh '.venv/bin/python -m pip install "${FIELDRIG_WHEEL:?say where the wheel of fieldrig is}"'
                sh '.venv/bin/python -m pytest --junitxml=junit.xml --fieldrig-out=fieldrig-runs/ci'
            }
        }
    }
    post {
        always {
            junit 'junit.xml'
            archiveArtifacts artifacts: 'fieldrig-runs/**', allowEmptyArchive: true
        }
    }
}
